/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tenant.h"

#include <errno.h>
#include <string.h>

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int dv_tenant_check_name(const char *name, struct dv_err *err)
{
    size_t n = strnlen(name, DV_TENANT_SIZE);
    if (!n)
        return dv_err_set(err, -EINVAL, "a tenant's name is empty; 1 to %d characters expected",
                          DV_TENANT_SIZE - 1);
    if (n == DV_TENANT_SIZE)
        return dv_err_set(err, -EINVAL, "a tenant's name is longer than %d characters",
                          DV_TENANT_SIZE - 1);
    for (size_t i = 0; i < n; i++)
        if (!is_alnum(name[i]) && !strchr("._:/@-", name[i]))
            return dv_err_set(err, -EINVAL,
                              "a tenant's name has the byte 0x%02x at position %zu; letters, "
                              "digits and . _ : / @ - are allowed",
                              (unsigned)(unsigned char)name[i], i + 1);
    if (!is_alnum(name[0]) && name[0] != '_')
        return dv_err_set(err, -EINVAL,
                          "the tenant's name \"%s\" must begin with a letter, a digit or _", name);
    return 0;
}

const char *dv_tenant_trust_name(enum dv_trust trust)
{
    return trust == DV_TRUST_UNTRUSTED ? "untrusted" : "trusted";
}

int dv_tenant_trust_parse(const char *text, enum dv_trust *ret, struct dv_err *err)
{
    if (!strcmp(text, "trusted"))
        *ret = DV_TRUST_TRUSTED;
    else if (!strcmp(text, "untrusted"))
        *ret = DV_TRUST_UNTRUSTED;
    else
        return dv_err_set(err, -EINVAL, "unknown trust \"%.32s\"; trusted or untrusted expected",
                          text);
    return 0;
}
