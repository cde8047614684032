/* SPDX-License-Identifier: Apache-2.0 */
#include "render/step_text.h"

static void add_device(const struct dv_step *s, struct dv_str *text)
{
    if (!*s->name)
        dv_str_addf(text, "GPU %u", s->gpu);
    else if (*s->device)
        dv_str_addf(text, "%s (%s at %u)", s->device, s->name, s->start);
    else
        dv_str_addf(text, "the new %s at %u", s->name, s->start);
}

static void add_sharing(const struct dv_step *s, struct dv_str *text)
{
    if (s->sharing.mode == DV_MODE_AUTO) {
        dv_str_add(text, "leave it to claims how ");
        add_device(s, text);
        dv_str_add(text, " is shared (mode auto)");
        return;
    }
    dv_str_add(text, s->sharing.mode == DV_MODE_EXCLUSIVE ? "give " : "share ");
    add_device(s, text);
    if (s->sharing.mode == DV_MODE_EXCLUSIVE)
        dv_str_add(text, " to one tenant at a time");
    dv_str_addf(text, " in mode %s", dv_device_mode_name(s->sharing.mode));
    if (s->sharing.replicas)
        dv_str_addf(text, ", %u replicas", s->sharing.replicas);
}

void dv_step_text(const struct dv_step *step, struct dv_str *text)
{
    const struct dv_step *s = step;
    switch (s->kind) {
    case DV_STEP_MPS_STOP:
        dv_str_add(text, "stop the MPS daemon of ");
        add_device(s, text);
        break;
    case DV_STEP_CI_DESTROY:
        dv_str_addf(text, "destroy compute instance %u of GPU instance %u (%s at %u)", s->ci, s->gi,
                    s->name, s->start);
        break;
    case DV_STEP_GI_DESTROY:
        dv_str_addf(text, "destroy GPU instance %u (%s at %u)", s->gi, s->name, s->start);
        break;
    case DV_STEP_MIG_MODE:
        dv_str_addf(text, "turn MIG mode %s", s->value ? "on" : "off");
        break;
    case DV_STEP_GI_CREATE:
        dv_str_addf(text, "create %s at %u", s->name, s->start);
        break;
    case DV_STEP_CI_CREATE:
        dv_str_addf(text, "create compute instance %s in the GPU instance at %u", s->name,
                    s->start);
        break;
    case DV_STEP_TIMESLICE:
        dv_str_addf(text, "set the length of time-slices to %s",
                    dv_device_timeslice_name((enum dv_timeslice)s->value));
        break;
    case DV_STEP_SHARING:
        add_sharing(s, text);
        break;
    }
}
