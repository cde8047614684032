/* SPDX-License-Identifier: Apache-2.0 */
/* Objects and AdmissionReviews: any text is answered or an error with a message that prints, and
 * what was rewritten is not changed again. */
#include "admission/admission.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const char *text)
{
    if (!*text)
        abort();
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            abort();
}

static void check_findings(const struct dv_admission *a)
{
    bool refused = false;
    for (uint32_t i = 0; i < a->n_findings; i++) {
        check_message(a->findings[i].text);
        refused = refused || a->findings[i].level == DV_ADMISSION_REFUSAL;
    }
    if (a->n_findings < DV_ADMISSION_FINDINGS_MAX && refused != (a->result == DV_ADMISSION_REFUSED))
        abort();
    if ((a->patch != NULL) != (a->result == DV_ADMISSION_REWRITTEN))
        abort();
}

static void check_object(const char *text, size_t size)
{
    static const struct dv_admission_rules rules;
    struct dv_admission *a = NULL, *again = NULL;
    struct dv_err err = {{0}};
    int r = dv_admission_object(text, size, &rules, &a, &err);
    if (r < 0) {
        check_message(err.msg);
        return;
    }
    check_findings(a);
    if (a->object && dv_admission_object(a->object, strlen(a->object), &rules, &again, &err) == 0 &&
        (again->patch || again->result == DV_ADMISSION_REFUSED))
        abort();
    dv_admission_free(&again);
    dv_admission_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct dv_admission_rules rules = {.strategy = "mig_governed"};
    struct dv_admission_answer answer;
    struct dv_err err = {{0}};
    const char *text = (const char *)data;
    check_object(text, size);
    if (dv_admission_review(text, size, &rules, &answer, &err) < 0) {
        check_message(err.msg);
        return 0;
    }
    if (!strstr(answer.body, "\"uid\":") ||
        (answer.result == DV_ADMISSION_REFUSED) != (answer.reason[0] != 0))
        abort();
    dv_admission_answer_done(&answer);
    return 0;
}
