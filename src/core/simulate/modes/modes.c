/* SPDX-License-Identifier: Apache-2.0 */
#include "simulate/modes/modes.h"

#include "simulate/modes/book.h"
#include "simulate/modes/machine.h"
#include "simulate/modes/textbook.h"

#include <errno.h>

static const char *const names[DV_MODES_COUNT] = {
    [DV_MODES_MIG] = "mig",
    [DV_MODES_MPS] = "mps",
    [DV_MODES_TIMESLICE] = "timeslice",
    [DV_MODES_GOVERNED] = "governed",
    [DV_MODES_EXCLUSIVE] = "exclusive",
};

const char *dv_modes_name(enum dv_modes_mode mode)
{
    return names[mode];
}

void dv_modes_config_default(struct dv_modes_config *c)
{
    *c = (struct dv_modes_config){
        .model = DV_MODES_ENGINE,
        .gpu = dv_gpu_model_find("A100-80GB", NULL),
        .width = DV_COMPUTE_FULL,
        .mps_limit = DV_COMPUTE_FULL,
        .kernel_ns = DV_NS_PER_MS,
        .timeslice_ns = 2048 * DV_NS_PER_US,
        .switch_ns = 60 * DV_NS_PER_US,
        .hop_ns = 70 * DV_NS_PER_US,
    };
}

static bool between(uint64_t v, uint64_t low, uint64_t high)
{
    return v >= low && v <= high;
}

int dv_modes_config_check(const struct dv_modes_config *c, struct dv_err *err)
{
    if (c->model == DV_MODES_TEXTBOOK)
        return 0;
    if (!c->gpu || !c->gpu->sm || c->gpu->sm > DV_ENGINE_SM_MAX)
        return dv_err_set(err, -EINVAL,
                          "%s: the number of its multiprocessors is not known, so it cannot be "
                          "simulated; take another model, or --model textbook",
                          c->gpu ? c->gpu->name : "no GPU");
    if (!between(c->width, 1, DV_COMPUTE_FULL) || !between(c->mps_limit, 1, DV_COMPUTE_FULL))
        return dv_err_set(err, -ERANGE, "a share of the card is more than 0 and at most all of it");
    if (!between(c->kernel_ns, DV_NS_PER_US, 10 * DV_NS_PER_S))
        return dv_err_set(err, -ERANGE, "the length of a kernel is 1us to 10s");
    if (!between(c->timeslice_ns, DV_NS_PER_US, 10 * DV_NS_PER_S))
        return dv_err_set(err, -ERANGE, "the length of a time-slice is 1us to 10s");
    if (c->switch_ns > 10 * DV_NS_PER_MS || c->hop_ns > 10 * DV_NS_PER_MS)
        return dv_err_set(err, -ERANGE, "a switch, and a hop, is at most 10ms");
    return 0;
}

/* A card each: nothing to be simulated but a queue. A request that fills a part of the card does
 * that part of a card's work. */
static int run_exclusive(struct dv_book *book, const struct dv_modes_config *c,
                         struct dv_modes_result *ret)
{
    ret->cards = book->load->tenants;
    int r = dv_textbook_run(book, DV_MODES_EXCLUSIVE);
    if (c->model == DV_MODES_ENGINE)
        book->work_ns *= (double)dv_machine_sms(c->gpu, c->width) / c->gpu->sm;
    return r;
}

static int run_mode(struct dv_book *book, const struct dv_modes_config *c, enum dv_modes_mode mode,
                    struct dv_modes_result *ret)
{
    if (mode == DV_MODES_EXCLUSIVE)
        return run_exclusive(book, c, ret);
    if (c->model == DV_MODES_ENGINE)
        return mode == DV_MODES_GOVERNED ? dv_governed_run(book, c, ret)
                                         : dv_machine_run(book, c, mode, ret);
    if (dv_textbook_has(mode))
        return dv_textbook_run(book, mode);
    ret->verdict = DV_MODES_NOT_MODELLED;
    return 0;
}

int dv_modes_run(const struct dv_arrivals_load *load, const struct dv_modes_config *config,
                 enum dv_modes_mode mode, const struct dv_modes_watch *watch,
                 struct dv_modes_result *ret)
{
    struct dv_book book;
    struct dv_modes_result result = {.mode = mode, .cards = 1, .complete = true};
    dv_book_init(&book, load, watch);
    int r = run_mode(&book, config, mode, &result);
    if (r == 0 && result.verdict == DV_MODES_OK)
        r = dv_book_close(&book, &result);
    dv_book_done(&book);
    if (r == 0)
        *ret = result;
    return r;
}
