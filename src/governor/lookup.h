/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From names and addresses of the driver's to our wrappers: what cuGetProcAddress and, in the
 * preload build, dlsym answer. The driver decides first which version of a call a name means; its
 * answer is then replaced by the wrapper of exactly that symbol.
 */
#ifndef DV_GOVERNOR_LOOKUP_H
#define DV_GOVERNOR_LOOKUP_H

/* After the originals of CUDA are known. */
void dv_lookup_build(void);

#endif
