/* SPDX-License-Identifier: Apache-2.0 */
#include "model/topology.h"

#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const words[] = {
    [DV_LINK_UNKNOWN] = "?", [DV_LINK_SYS] = "SYS", [DV_LINK_NODE] = "NODE", [DV_LINK_PHB] = "PHB",
    [DV_LINK_PXB] = "PXB",   [DV_LINK_PIX] = "PIX", [DV_LINK_NVLINK] = "NV", [DV_LINK_SELF] = "X"};

const char *dv_topology_link_format(struct dv_link link, char buf[DV_LINK_TEXT])
{
    if (link.kind == DV_LINK_NVLINK)
        snprintf(buf, DV_LINK_TEXT, "NV%u", link.nvlinks % (DV_LINK_NVLINKS_MAX + 1));
    else
        snprintf(buf, DV_LINK_TEXT, "%s",
                 (size_t)link.kind < DV_ARRAY_SIZE(words) ? words[link.kind] : "?");
    return buf;
}

int dv_topology_link_parse(const char *text, struct dv_link *ret, struct dv_err *err)
{
    for (size_t i = 0; i < DV_ARRAY_SIZE(words); i++) {
        if (i == DV_LINK_NVLINK || strcmp(words[i], text) != 0)
            continue;
        *ret = (struct dv_link){(enum dv_link_kind)i, 0};
        return 0;
    }
    if (!strncmp(text, "NV", 2)) {
        int64_t n = 0;
        int r =
            dv_units_parse_integer(text + 2, "number of NVLinks", 1, DV_LINK_NVLINKS_MAX, &n, err);
        if (r < 0)
            return r;
        *ret = (struct dv_link){DV_LINK_NVLINK, (uint32_t)n};
        return 0;
    }
    return dv_err_set(err, -EINVAL,
                      "unknown link \"%.16s\"; X, NV# (NV12), PIX, PXB, PHB, NODE or SYS expected",
                      text);
}

void dv_topology_init(struct dv_topology *topology, uint32_t n)
{
    memset(topology, 0, sizeof *topology);
    topology->n = n <= DV_TOPOLOGY_MAX ? n : 0;
    for (uint32_t i = 0; i < DV_TOPOLOGY_MAX; i++)
        topology->numa[i] = -1;
    for (uint32_t i = 0; i < topology->n; i++)
        topology->links[i][i].kind = DV_LINK_SELF;
}

void dv_topology_set(struct dv_topology *topology, uint32_t a, uint32_t b, struct dv_link link)
{
    if (a >= topology->n || b >= topology->n)
        return;
    topology->links[a][b] = link;
    topology->links[b][a] = link;
}

struct dv_link dv_topology_get(const struct dv_topology *topology, uint32_t a, uint32_t b)
{
    if (a >= topology->n || b >= topology->n)
        return (struct dv_link){0};
    return topology->links[a][b];
}

int dv_topology_check(const struct dv_topology *topology, struct dv_err *err)
{
    const struct dv_topology *t = topology;
    if (t->n > DV_TOPOLOGY_MAX)
        return dv_err_set(err, -EINVAL, "a topology of %u GPUs, at most %d are shown", t->n,
                          DV_TOPOLOGY_MAX);
    for (uint32_t a = 0; a < t->n; a++)
        for (uint32_t b = 0; b < t->n; b++) {
            struct dv_link ab = t->links[a][b], ba = t->links[b][a];
            char x[DV_LINK_TEXT], y[DV_LINK_TEXT];
            if (dv_topology_link_compare(ab, ba))
                return dv_err_set(err, -EINVAL, "GPUs %u and %u: %s one way, %s the other", a, b,
                                  dv_topology_link_format(ab, x), dv_topology_link_format(ba, y));
            if ((ab.kind == DV_LINK_SELF) != (a == b))
                return dv_err_set(err, -EINVAL,
                                  "GPUs %u and %u: link %s; X stands on the diagonal only", a, b,
                                  dv_topology_link_format(ab, x));
            if (ab.kind == DV_LINK_NVLINK && (!ab.nvlinks || ab.nvlinks > DV_LINK_NVLINKS_MAX))
                return dv_err_set(err, -EINVAL, "GPUs %u and %u: %u NVLinks", a, b, ab.nvlinks);
            if (ab.kind == DV_LINK_NVLINK && ab.pcie > DV_LINK_PIX)
                return dv_err_set(err, -EINVAL, "GPUs %u and %u: no way over PCIe is called %d", a,
                                  b, (int)ab.pcie);
        }
    return 0;
}

int dv_topology_link_compare(struct dv_link a, struct dv_link b)
{
    if (a.kind != b.kind)
        return a.kind < b.kind ? -1 : 1;
    if (a.kind != DV_LINK_NVLINK)
        return 0;
    if (a.nvlinks != b.nvlinks)
        return a.nvlinks < b.nvlinks ? -1 : 1;
    return a.pcie < b.pcie ? -1 : a.pcie > b.pcie;
}

/* Up to `max` hexadecimal digits; false when there are none or more. */
static bool take_hex(const char **p, size_t max, unsigned *ret)
{
    unsigned value = 0;
    size_t n = 0;
    for (; n <= max && isxdigit((unsigned char)**p); n++, ++*p) {
        int c = tolower((unsigned char)**p);
        value = value * 16 + (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret = value;
    return n && n <= max;
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    ++*p;
    return true;
}

int dv_topology_pci_parse(const char *text, char ret[static 17], struct dv_err *err)
{
    unsigned domain = 0, bus = 0, device = 0, function = 0;
    const char *p = text;
    bool ok = take_hex(&p, 8, &bus) && take_char(&p, ':') && take_hex(&p, 4, &device);
    if (ok && take_char(&p, ':')) {
        domain = bus;
        bus = device;
        ok = take_hex(&p, 2, &device);
    }
    if (ok && take_char(&p, '.'))
        ok = take_hex(&p, 1, &function);
    if (!ok || *p || bus > 0xff || device > 0x1f || function > 7)
        return dv_err_set(err, -EINVAL,
                          "\"%.40s\" is not a PCI address; one looks like 00000000:07:00.0", text);
    snprintf(ret, 17, "%08X:%02X:%02X.%u", domain, bus & 0xff, device & 0x1f, function & 7);
    return 0;
}
