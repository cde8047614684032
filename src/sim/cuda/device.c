/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: which of the node's this process sees, and what they say.
 *
 * CUDA_VISIBLE_DEVICES as the CUDA programming guide words it: a list of indices or UUIDs (a
 * unique beginning is enough); what stands behind the first invalid entry is invisible; with
 * GPUs in MIG mode one MIG device at most, without the variable the first one. MIG devices come in
 * the list by their UUID, "MIG-GPU-<uuid>/<gi>/<ci>" too.
 */
#include "driver.h"
#include "visible.h"

#include <stdio.h>
#include <strings.h>

void dv_cudevice_select(const struct dv_sim_device *all, uint32_t n, const char *visible)
{
    uint32_t index[DV_CU_DEVICES], found = dv_visible_select(all, n, visible, index, DV_CU_DEVICES);

    for (uint32_t i = 0; i < found; i++) {
        struct dv_cudevice *d = &P.device[i];
        *d = (struct dv_cudevice){.info = all[index[i]], .server_index = all[index[i]].id};
        d->info.uuid[sizeof(d->info.uuid) - 1] = '\0';
        d->info.name[sizeof(d->info.name) - 1] = '\0';
    }
    P.n_devices = (int)found;
}

struct dv_cudevice *dv_cudevice_get(int device)
{
    return device >= 0 && device < P.n_devices ? &P.device[device] : NULL;
}

/* ---- what they say -------------------------------------------------------------------------- */

dv_cuda_api(cuDeviceGetCount, int *ret)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    *ret = P.n_devices;
    return 0;
}

dv_cuda_api(cuDeviceGet, int *ret, int ordinal)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cudevice_get(ordinal), DV_CUDA_ERROR_INVALID_DEVICE);
    *ret = ordinal;
    return 0;
}

dv_cuda_api(cuDeviceGetName, char *ret, int size, int device)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret && size > 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    snprintf(ret, (size_t)size, "%s", d->info.name);
    return 0;
}

/* The 16 bytes of "GPU-01234567-89ab-...": its hexadecimal digits in order. */
static void parse_uuid(const char *text, struct dv_cuda_uuid *ret)
{
    unsigned int digits = 0;
    memset(ret, 0, sizeof(*ret));
    for (const char *c = strchr(text, '-'); c && *c && digits < 32; c++) {
        const char *hex = "0123456789abcdef", *at = strchr(hex, *c | 0x20);
        if (*c == '-' || !at)
            continue;
        unsigned int value = (unsigned int)(at - hex);
        ret->bytes[digits / 2] |= (uint8_t)(digits % 2 ? value : value << 4);
        digits++;
    }
}

static int get_uuid(struct dv_cuda_uuid *ret, int device, bool mig)
{
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    parse_uuid(d->info.uuid, ret);
    return 0;
}

/* The first version gives a MIG device its GPU's UUID, the second its own. The server's list has
 * no whole GPU for a process that sees a MIG device; both give the MIG device's here. */
dv_cuda_api(cuDeviceGetUuid, struct dv_cuda_uuid *ret, int device)
{
    DV_CU_ENTER();
    return get_uuid(ret, device, false);
}

dv_cuda_api(cuDeviceGetUuid_v2, struct dv_cuda_uuid *ret, int device)
{
    DV_CU_ENTER();
    return get_uuid(ret, device, true);
}

dv_cuda_api(cuDeviceTotalMem, unsigned int *ret, int device)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    *ret = (unsigned int)DV_CU_MIN(d->info.memory_bytes, UINT32_MAX);
    return 0;
}

dv_cuda_api(cuDeviceTotalMem_v2, size_t *ret, int device)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    *ret = d->info.memory_bytes;
    return 0;
}

dv_cuda_api(cuDeviceGetPCIBusId, char *ret, int size, int device)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret && size > 0, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    snprintf(ret, (size_t)size, "%04X:%02X:%02X.0", d->info.pci_domain, d->info.pci_bus,
             d->info.pci_device);
    return 0;
}

dv_cuda_api(cuDeviceGetByPCIBusId, int *ret, const char *id)
{
    DV_CU_ENTER();
    unsigned int domain = 0, bus = 0, device = 0;
    DV_CU_REQUIRE(ret && id, DV_CUDA_ERROR_INVALID_VALUE);
    if (sscanf(id, "%x:%x:%x", &domain, &bus, &device) != 3) {
        domain = 0;
        DV_CU_REQUIRE(sscanf(id, "%x:%x", &bus, &device) == 2, DV_CUDA_ERROR_INVALID_VALUE);
    }
    for (int i = 0; i < P.n_devices; i++) {
        const struct dv_sim_device *d = &P.device[i].info;
        if (d->pci_domain == domain && d->pci_bus == bus && d->pci_device == device) {
            *ret = i;
            return 0;
        }
    }
    return DV_CUDA_ERROR_INVALID_DEVICE;
}

dv_cuda_api(cuDeviceComputeCapability, int *ret_major, int *ret_minor, int device)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret_major && ret_minor, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    *ret_major = (int)d->info.cc_major;
    *ret_minor = (int)d->info.cc_minor;
    return 0;
}

dv_cuda_api(cuDeviceGetProperties, struct dv_cuda_devprop *ret, int device)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    *ret = (struct dv_cuda_devprop){
        .max_threads_per_block = 1024,
        .max_block = {1024, 1024, 64},
        .max_grid = {INT32_MAX, 65535, 65535},
        .shared_per_block = 49152,
        .constant_bytes = 65536,
        .warp = 32,
        .max_pitch = INT32_MAX,
        .registers_per_block = 65536,
        .clock_khz = (int32_t)d->info.clock_khz,
        .texture_alignment = 512,
    };
    return 0;
}

dv_cuda_api(cuDeviceGetLuid, char *ret, unsigned int *ret_mask, int device)
{
    DV_CU_ENTER();
    return DV_CUDA_ERROR_NOT_SUPPORTED; /* Windows only */
}

/* ---- attributes ----------------------------------------------------------------------------- */

/* Those that are the same on all data centre cards since Volta, by cuda.h's numbers. */
static const struct fixed {
    int16_t attribute;
    int32_t value;
} fixed_values[] = {
    {1, 1024},    {2, 1024},     {3, 1024},   {4, 64},      {5, INT32_MAX},  {6, 65535},
    {7, 65535},   {8, 49152},    {9, 65536},  {10, 32},     {11, INT32_MAX}, {12, 65536},
    {14, 512},    {15, 1},       {17, 0},     {18, 0},      {19, 1},         {21, 131072},
    {22, 131072}, {23, 65536},   {24, 16384}, {25, 16384},  {26, 16384},     {27, 32768},
    {28, 32768},  {29, 2048},    {30, 512},   {31, 1},      {32, 1},         {35, 0},
    {40, 3},      {41, 1},       {42, 32768}, {43, 2048},   {44, 1},         {45, 32768},
    {46, 32768},  {47, 8192},    {48, 8192},  {49, 32768},  {51, 32},        {52, 32768},
    {53, 32768},  {54, 2046},    {55, 32768}, {56, 131072}, {57, 65536},     {58, 16384},
    {59, 16384},  {60, 16384},   {61, 32768}, {62, 2048},   {63, 32768},     {64, 32768},
    {65, 2048},   {66, 32768},   {67, 32768}, {68, 2046},   {69, 268435456}, {70, 131072},
    {71, 65000},  {72, 2097120}, {73, 32768}, {74, 32768},  {77, 32768},     {78, 1},
    {79, 1},      {80, 1},       {82, 65536}, {83, 1},      {84, 0},         {85, 0},
    {86, 0},      {87, 2},       {88, 0},     {89, 1},      {90, 1},         {91, 1},
    {92, 0},      {93, 0},       {94, 0},     {95, 1},      {96, 0},         {98, 0},
    {99, 1},      {100, 0},      {101, 0},    {102, 1},     {103, 1},        {104, 0},
    {105, 0},     {106, 32},     {107, 0},    {108, 0},     {109, 0},        {110, 0},
    {111, 1024},  {112, 0},      {113, 1},    {114, 0},     {115, 1},        {116, 0},
    {117, 0},     {118, 0},      {119, 1},    {121, 0},     {122, 1},        {123, 1},
    {124, 0},     {125, 1},      {126, 1},    {127, 0},     {128, 0},        {129, 0},
    {130, 0},     {131, -1},     {132, 0},    {133, 0},     {134, 0},        {135, 0},
    {136, 0},     {137, 0},      {138, 0},    {139, 0},     {140, 0},        {141, 0},
    {142, 0},     {143, 0},
};

/* Shared memory of one SM, by the CUDA programming guide's table of compute capabilities. */
static int shared_per_sm(const struct dv_sim_device *d)
{
    uint32_t cc = d->cc_major * 10 + d->cc_minor;
    if (cc >= 90 && cc < 120)
        return 228 << 10;
    if (cc == 80 || cc == 87)
        return 164 << 10;
    if (cc == 75)
        return 64 << 10;
    if (cc == 70 || cc == 72)
        return 96 << 10;
    return 100 << 10;
}

static bool own_attribute(const struct dv_sim_device *d, int attribute, int *ret)
{
    switch (attribute) {
    case DV_CUDA_ATTR_CLOCK_RATE:
        *ret = (int)d->clock_khz;
        return true;
    case DV_CUDA_ATTR_SM_COUNT:
        *ret = (int)d->sms;
        return true;
    case DV_CUDA_ATTR_COMPUTE_MODE:
        *ret = (int)d->compute_mode;
        return true;
    case DV_CUDA_ATTR_PCI_BUS:
        *ret = (int)d->pci_bus;
        return true;
    case DV_CUDA_ATTR_PCI_DEVICE:
        *ret = (int)d->pci_device;
        return true;
    case DV_CUDA_ATTR_PCI_DOMAIN:
        *ret = (int)d->pci_domain;
        return true;
    case DV_CUDA_ATTR_MEMORY_CLOCK_RATE:
        *ret = (int)d->memory_clock_khz;
        return true;
    case DV_CUDA_ATTR_MEMORY_BUS_WIDTH:
        *ret = (int)d->bus_width_bits;
        return true;
    case DV_CUDA_ATTR_L2_CACHE_SIZE:
        *ret = (int)d->l2_bytes;
        return true;
    case DV_CUDA_ATTR_MAX_THREADS_PER_SM:
        *ret = (int)d->threads_per_sm;
        return true;
    case DV_CUDA_ATTR_CC_MAJOR:
        *ret = (int)d->cc_major;
        return true;
    case DV_CUDA_ATTR_CC_MINOR:
        *ret = (int)d->cc_minor;
        return true;
    case 81: /* shared memory per SM */
        *ret = shared_per_sm(d);
        return true;
    case 97: /* per block, when asked for */
        *ret = shared_per_sm(d) - (d->cc_major >= 8 ? 1024 : 0);
        return true;
    case 120: /* cluster launch */
        *ret = d->cc_major >= 9;
        return true;
    default:
        return false;
    }
}

dv_cuda_api(cuDeviceGetAttribute, int *ret, int attribute, int device)
{
    DV_CU_ENTER();
    struct dv_cudevice *d = dv_cudevice_get(device);
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(d, DV_CUDA_ERROR_INVALID_DEVICE);
    if (own_attribute(&d->info, attribute, ret))
        return 0;
    for (size_t i = 0; i < sizeof(fixed_values) / sizeof(fixed_values[0]); i++)
        if (fixed_values[i].attribute == attribute) {
            *ret = fixed_values[i].value;
            return 0;
        }
    return DV_CUDA_ERROR_INVALID_VALUE;
}

/* ---- pairs of devices ----------------------------------------------------------------------- */

static bool can_reach(int device, int peer)
{
    return device != peer && !P.device[device].info.mig && !P.device[peer].info.mig;
}

dv_cuda_api(cuDeviceCanAccessPeer, int *ret, int device, int peer)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cudevice_get(device) && dv_cudevice_get(peer), DV_CUDA_ERROR_INVALID_DEVICE);
    *ret = can_reach(device, peer);
    return 0;
}

/* 1 rank, 2 access, 3 native atomics, 4 CUDA array access */
dv_cuda_api(cuDeviceGetP2PAttribute, int *ret, int attribute, int device, int peer)
{
    DV_CU_ENTER();
    DV_CU_REQUIRE(ret && attribute >= 1 && attribute <= 4, DV_CUDA_ERROR_INVALID_VALUE);
    DV_CU_REQUIRE(dv_cudevice_get(device) && dv_cudevice_get(peer) && device != peer,
                  DV_CUDA_ERROR_INVALID_DEVICE);
    *ret = attribute == 1 ? 0 : can_reach(device, peer);
    return 0;
}
