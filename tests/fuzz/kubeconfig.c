/* SPDX-License-Identifier: Apache-2.0 */
/* kubeconfig files: any text is a configuration without holes or an error with a message that
 * prints. */
#include "kube/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            abort();
}

static void check(const struct dv_kube_config *c)
{
    if (strncmp(c->server, "https://", 8) != 0 || !c->server[8] ||
        c->server[strlen(c->server) - 1] == '/' || c->insecure)
        abort();
    if (!*c->namespace || (*c->token && *c->token_file) || (*c->ca_file && *c->ca_pem))
        abort();
    if ((*c->cert_file || *c->cert_pem) != (*c->key_file || *c->key_pem))
        abort();
    for (const char *p = c->token; *p; p++)
        if ((unsigned char)*p < ' ')
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dv_kube_config *c = NULL;
    struct dv_err err = {{0}};
    int r = dv_kube_config_parse("fuzz.yaml", (const char *)data, size, "/nonexistent", false, &c,
                                 &err);
    if (r == -ENOMEM)
        return 0;
    if (r < 0)
        check_message(err.msg);
    else
        check(c);
    dv_kube_config_free(c);
    return 0;
}
