/* SPDX-License-Identifier: Apache-2.0 */
#include "admission/admission.h"
#include "base/rng.h"
#include "base/str.h"
#include "policy/gpu_names.h"

#include <errno.h>
#include <json-c/json.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LEN_MAX 65536

static struct dv_admission *judge_by(const char *json, const char *strategy,
                                     const struct dv_gpu_names *names)
{
    struct dv_admission_rules rules = {strategy, names};
    struct dv_admission *a = NULL;
    struct dv_err err;
    assert_int_equal(dv_admission_object(json, strlen(json), &rules, &a, &err), 0);
    return a;
}

static struct dv_admission *judge(const char *json, const char *strategy)
{
    return judge_by(json, strategy, NULL);
}

/* Text for people to write in a test: ' for ". */
static const char *quoted(const char *fmt, ...) dv_printf(1, 2);
static const char *quoted(const char *fmt, ...)
{
    static char texts[4][LEN_MAX];
    static unsigned next;
    char *text = texts[next++ % DV_ARRAY_SIZE(texts)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, LEN_MAX, fmt, args);
    va_end(args);
    for (char *p = text; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return text;
}

/* A pod with one container "w" whose resources are these. */
static const char *pod(const char *resources)
{
    return quoted("{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p'},'spec':{'containers':["
                  "{'name':'w','resources':%s}]}}",
                  resources);
}

static const char *noted(const char *note, const char *resources)
{
    dv_cleanup(dv_str_done) struct dv_str escaped = {0};
    for (; *note; note++)
        dv_str_add(&escaped, *note == '\'' ? "\\'" : (char[]){*note, 0});
    return quoted("{'apiVersion':'v1','kind':'Pod','metadata':{'annotations':{"
                  "'divvy.dev/original-resources':'%s'}},'spec':{'containers':["
                  "{'name':'w','resources':%s}]}}",
                  dv_str_get(&escaped), resources);
}

/* ---- a patch, applied by other code than that which made it --------------------------------- */

static void unescape(char *key)
{
    char *to = key;
    for (const char *p = key; *p; p++)
        *to++ = *p == '~' ? (*++p == '1' ? '/' : '~') : *p;
    *to = 0;
}

static void apply_one(struct json_object *root, struct json_object *op)
{
    struct json_object *path, *what, *value = NULL, *at = root;
    char pointer[1024];
    assert_true(json_object_object_get_ex(op, "path", &path));
    assert_true(json_object_object_get_ex(op, "op", &what));
    json_object_object_get_ex(op, "value", &value);
    snprintf(pointer, sizeof pointer, "%s", json_object_get_string(path));
    char *last = strrchr(pointer, '/');
    *last++ = 0;
    for (char *rest = pointer + (*pointer == '/'), *step;
         *pointer && (step = strsep(&rest, "/"));) {
        unescape(step);
        at = json_object_is_type(at, json_type_array)
                 ? json_object_array_get_idx(at, strtoul(step, NULL, 10))
                 : json_object_object_get(at, step);
        assert_non_null(at);
    }
    unescape(last);
    if (!strcmp(json_object_get_string(what), "remove")) {
        assert_true(json_object_object_get_ex(at, last, NULL)); /* else a patch fails as a whole */
        json_object_object_del(at, last);
    } else {
        struct json_object *copy = NULL;
        assert_string_equal(json_object_get_string(what), "add");
        assert_non_null(value);
        assert_int_equal(json_object_deep_copy(value, &copy, NULL), 0);
        json_object_object_add(at, last, copy);
    }
}

static struct json_object *apply(const char *json, const char *patch)
{
    struct json_object *root = json_tokener_parse(json);
    struct json_object *ops = patch ? json_tokener_parse(patch) : NULL;
    assert_non_null(root);
    for (size_t i = 0; ops && i < json_object_array_length(ops); i++)
        apply_one(root, json_object_array_get_idx(ops, i));
    json_object_put(ops);
    return root;
}

/* The patch makes the object that is said to come out, and that is not changed again. */
static void check_result(const char *json, const struct dv_admission *a, const char *strategy)
{
    if (a->result == DV_ADMISSION_REFUSED) {
        assert_null(a->patch);
        assert_null(a->object);
        return;
    }
    struct json_object *patched = apply(json, a->patch), *said = json_tokener_parse(a->object);
    assert_true(json_object_equal(patched, said));
    json_object_put(patched);
    json_object_put(said);
    dv_cleanup(dv_admission_free) struct dv_admission *again = judge(a->object, strategy);
    if (again->patch)
        fail_msg("%s\n%s\n%s", json, a->object, again->patch);
    assert_true(again->result == DV_ADMISSION_ACCEPTED || again->result == DV_ADMISSION_NONE);
}

/* ---- one pod -------------------------------------------------------------------------------- */

static void test_patch(void **state)
{
    const char *json = pod("{'requests':{'nvidia.com/gpu':'250m'}}");
    dv_cleanup(dv_admission_free) struct dv_admission *a = judge(json, NULL);
    assert_int_equal(a->result, DV_ADMISSION_REWRITTEN);
    assert_string_equal(
        a->patch,
        quoted("[{'op':'remove','path':'/spec/containers/0/resources/requests/nvidia.com~1gpu'},"
               "{'op':'add','path':'/spec/containers/0/resources/requests/divvy.dev~1gpu-percent',"
               "'value':'25'},"
               "{'op':'add','path':'/spec/containers/0/resources/limits','value':{}},"
               "{'op':'add','path':'/spec/containers/0/resources/limits/divvy.dev~1gpu-percent',"
               "'value':'25'},"
               "{'op':'add','path':'/metadata/annotations','value':{}},"
               "{'op':'add','path':'/metadata/annotations/divvy.dev~1original-resources',"
               "'value':'{\\'w\\':{\\'requests\\':{\\'nvidia.com/gpu\\':\\'250m\\'}}}'}]"));
    assert_int_equal(a->n_findings, 1);
    assert_int_equal(a->findings[0].level, DV_ADMISSION_NOTE);
    assert_string_equal(a->findings[0].path, "/spec/containers/0/resources");
    check_result(json, a, NULL);
}

static void expect(const char *json, enum dv_admission_result result, const char *in_object)
{
    dv_cleanup(dv_admission_free) struct dv_admission *a = judge(json, NULL);
    if (a->result != result)
        fail_msg("%s, not %s: %s", dv_admission_result_name(a->result),
                 dv_admission_result_name(result), json);
    if (in_object && !strstr(a->object, quoted("%s", in_object)))
        fail_msg("%s is not in %s", in_object, a->object);
    check_result(json, a, NULL);
}

static void test_forms(void **state)
{
    expect(pod("{'limits':{'nvidia.com/gpu':0.25}}"), DV_ADMISSION_REWRITTEN,
           "'divvy.dev/gpu-percent':'25'");
    expect(pod("{'limits':{'nvidia.com/gpu':'1'}}"), DV_ADMISSION_ACCEPTED, NULL);
    expect(pod("{'limits':{'nvidia.com/gpu':0}}"), DV_ADMISSION_NONE, NULL);
    expect(pod("{'limits':{'cpu':'0.5'}}"), DV_ADMISSION_NONE, NULL);
    expect(pod("{'limits':null}"), DV_ADMISSION_NONE, NULL);
    expect(pod("{'limits':['nvidia.com/gpu']}"), DV_ADMISSION_NONE, NULL);
    expect(pod("null"), DV_ADMISSION_NONE, NULL);
    expect(pod("{'requests':{'nvidia.com/gpu':'1'}}"), DV_ADMISSION_REFUSED, NULL);
    expect(pod("{'limits':{'nvidia.com/gpu':true}}"), DV_ADMISSION_REFUSED, NULL);
    expect(pod("{'limits':{'nvidia.com/gpu':'0.125'}}"), DV_ADMISSION_REFUSED, NULL);
    expect(pod("{'limits':{'nvidia.com/gpu':'0.25','divvy.dev/gpu-percent':'25'}}"),
           DV_ADMISSION_REFUSED, NULL);
    expect(pod("{'requests':{'nvidia.com/gpu':'0.25'},'limits':{'nvidia.com/mig-1g.10gb':1}}"),
           DV_ADMISSION_REFUSED, NULL);
    expect("{\"apiVersion\":\"v1\",\"kind\":\"Pod\"}", DV_ADMISSION_NONE, NULL);
    expect("{}", DV_ADMISSION_NONE, NULL);
}

#define NOTE "{'w':{'limits':{'nvidia.com/gpu':'250m'},'requests':{'nvidia.com/gpu':'250m'}}}"
#define BOTH(value) "{'limits':{" value "},'requests':{" value "}}"

/* What `kubectl apply` makes of an object that was rewritten: its words and ours, merged. */
static void test_applied_again(void **state)
{
    const char *same = noted(NOTE, BOTH("'divvy.dev/gpu-percent':'25','nvidia.com/gpu':'250m'"));
    const char *was = noted(NOTE, BOTH("'divvy.dev/gpu-percent':'25'"));
    struct json_object *want = json_tokener_parse(was);
    dv_cleanup(dv_admission_free) struct dv_admission *a = judge(same, NULL);
    struct json_object *have = json_tokener_parse(a->object);
    assert_true(json_object_equal(have, want)); /* no new pods of an unchanged template */
    json_object_put(have);
    json_object_put(want);
    expect(was, DV_ADMISSION_ACCEPTED, NULL);
    /* another fraction, a whole GPU, a MIG device, no GPU */
    expect(noted(NOTE, BOTH("'divvy.dev/gpu-percent':'25','nvidia.com/gpu':'500m'")),
           DV_ADMISSION_REWRITTEN, "{'divvy.dev/gpu-percent':'50'}");
    expect(noted(NOTE, BOTH("'divvy.dev/gpu-percent':'25','nvidia.com/gpu':'1'")),
           DV_ADMISSION_REWRITTEN, "'annotations':{}");
    expect(noted(NOTE, BOTH("'divvy.dev/gpu-percent':'25','nvidia.com/mig-1g.10gb':'1'")),
           DV_ADMISSION_REWRITTEN, "{'nvidia.com/mig-1g.10gb':'1'}");
    expect(noted(NOTE, BOTH("'divvy.dev/gpu-percent':'25','nvidia.com/gpu':'0'")),
           DV_ADMISSION_REWRITTEN, "{'nvidia.com/gpu':'0'}");
    /* percents of the user's own */
    expect(noted(NOTE, BOTH("'divvy.dev/gpu-percent':'50'")), DV_ADMISSION_REWRITTEN,
           "'annotations':{}");
    expect(noted(NOTE, BOTH("'divvy.dev/gpu-percent':'50','nvidia.com/gpu':'250m'")),
           DV_ADMISSION_REFUSED, NULL);
    /* not ours to judge: an annotation that is none of ours */
    expect(noted("[]", BOTH("'divvy.dev/gpu-percent':'25'")), DV_ADMISSION_ACCEPTED, NULL);
    expect(noted("[]", BOTH("'nvidia.com/gpu':'250m'")), DV_ADMISSION_REWRITTEN, NULL);
}

/* ---- the kinds ------------------------------------------------------------------------------ */

static void test_kinds(void **state)
{
    static const struct {
        const char *version, *kind, *before, *after;
    } all[] = {
        {"v1", "PodTemplate", "'template':", ""},
        {"v1", "ReplicationController", "'spec':{'template':", "}"},
        {"apps/v1", "Deployment", "'spec':{'template':", "}"},
        {"apps/v1", "StatefulSet", "'spec':{'template':", "}"},
        {"apps/v1", "DaemonSet", "'spec':{'template':", "}"},
        {"apps/v1", "ReplicaSet", "'spec':{'template':", "}"},
        {"batch/v1", "Job", "'spec':{'template':", "}"},
        {"batch/v1", "CronJob", "'spec':{'jobTemplate':{'spec':{'template':", "}}}"},
    };
    static const char *const others[] = {"argoproj.io/v1", "v1/apps", ""};
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        const char *inside =
            quoted("%s{'spec':{'initContainers':[{'name':'i','resources':{'limits':{"
                   "'nvidia.com/gpu':'0.5'}}}],'containers':[{'name':'a/b~c'},{'name':'w',"
                   "'resources':{'limits':{'nvidia.com/gpu':'0.25'}}}]}}%s",
                   all[i].before, all[i].after);
        const char *json =
            quoted("{'apiVersion':'%s','kind':'%s',%s}", all[i].version, all[i].kind, inside);
        dv_cleanup(dv_admission_free) struct dv_admission *a = judge(json, NULL);
        assert_int_equal(a->result, DV_ADMISSION_REWRITTEN);
        assert_int_equal(a->n_findings, 2);
        /* the template is what carries the note, and pods made of it */
        assert_non_null(strstr(a->object, "\"metadata\":{\"annotations\":{\"divvy.dev/original"));
        assert_null(strstr(a->patch, "\"path\":\"/metadata"));
        check_result(json, a, NULL);
        json = quoted("{'apiVersion':'%s','kind':'%s',%s}", others[i % 3], all[i].kind, inside);
        dv_cleanup(dv_admission_free) struct dv_admission *other = judge(json, NULL);
        assert_int_equal(other->result, DV_ADMISSION_NONE);
    }
}

static void test_warnings(void **state)
{
    const char *json = quoted(
        "{'apiVersion':'v1','kind':'Pod','spec':{'containers':[{'name':'w','env':[{'name':'A'},"
        "{'name':'NVIDIA_VISIBLE_DEVICES','value':'a\\nll'},"
        "{'name':'CUDA_MPS_ACTIVE_THREAD_PERCENTAGE','value':'50'}],"
        "'resources':{'limits':{'nvidia.com/gpu':'0.25'}}}]}}");
    dv_cleanup(dv_admission_free) struct dv_admission *a = judge(json, NULL);
    assert_int_equal(a->result, DV_ADMISSION_REWRITTEN);
    assert_true(a->warned);
    assert_int_equal(a->n_findings, 3);
    assert_string_equal(a->findings[1].path, "/spec/containers/0/env/1");
    assert_non_null(strstr(a->findings[1].text, "NVIDIA_VISIBLE_DEVICES=a?ll"));
    assert_int_equal(a->findings[2].level, DV_ADMISSION_WARNING);
}

static void test_namespace(void **state)
{
    const char *whole = pod("{'limits':{'nvidia.com/gpu':'1'}}");
    static const char *const refused[] = {"mig-only", "shared", "what", "governed_mig"};
    static const char *const passes[] = {"whole-only", "any", "mig_whole", ""};
    for (size_t i = 0; i < DV_ARRAY_SIZE(refused); i++) {
        dv_cleanup(dv_admission_free) struct dv_admission *a = judge(whole, refused[i]),
                                                          *b = judge(whole, passes[i]);
        dv_cleanup(dv_admission_free) struct dv_admission *none =
            judge(pod("{'limits':{'cpu':'1'}}"), refused[i]);
        assert_int_equal(a->result, DV_ADMISSION_REFUSED);
        assert_int_equal(b->result, DV_ADMISSION_ACCEPTED);
        assert_int_equal(none->result, DV_ADMISSION_NONE);
    }
}

/* ---- properties over random pods ------------------------------------------------------------ */

static const char *pick(struct dv_rng *rng, const char *const *of, size_t n)
{
    return of[dv_rng_below(rng, n)];
}

static void add_list(struct dv_rng *rng, struct dv_str *s, const char *name)
{
    static const char *const names[] = {"nvidia.com/gpu",        "nvidia.com/gpu",
                                        "nvidia.com/gpu",        "divvy.dev/gpu-percent",
                                        "nvidia.com/gpu.shared", "cpu"};
    static const char *const values[] = {"\"250m\"", "0.25", "\"1\"",   "0",  "\"25\"",
                                         "0.125",    "2",    "\"50m\"", "25", "\"0.5\""};
    dv_str_addf(s, "\"%s\":{", name);
    for (uint64_t i = 0, n = dv_rng_below(rng, 3); i < n; i++)
        dv_str_addf(s, "%s\"%s\":%s", i ? "," : "", pick(rng, names, 6), pick(rng, values, 10));
    dv_str_add(s, "}");
}

static void random_pod(struct dv_rng *rng, struct dv_str *s)
{
    static const char *const notes[] = {"", "{}",
                                        "{\\\"a\\\":{\\\"limits\\\":{\\\"nvidia.com/gpu"
                                        "\\\":\\\"0.25\\\"}}}"};
    dv_str_addf(s,
                "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"annotations\":{"
                "\"divvy.dev/original-resources\":\"%s\"}},\"spec\":{\"containers\":[",
                pick(rng, notes, 3));
    for (uint64_t i = 0, n = 1 + dv_rng_below(rng, 2); i < n; i++) {
        dv_str_addf(s, "%s{\"name\":\"%c\",\"resources\":{", i ? "," : "", (char)('a' + i));
        bool both = dv_rng_below(rng, 2);
        add_list(rng, s, "limits");
        if (both) {
            dv_str_add(s, ",");
            add_list(rng, s, "requests");
        }
        dv_str_add(s, "}}");
    }
    dv_str_add(s, "]}}");
}

/* Of nvidia.com/gpu and of percents, the larger of limits and requests: GPUs in 1/10^9. */
static int64_t gpus(struct json_object *container, const char *resource, int64_t one)
{
    static const char *const lists[] = {"limits", "requests"};
    int64_t most = 0;
    for (size_t i = 0; i < 2; i++) {
        struct json_object *o = json_object_object_get(container, "resources");
        int64_t nano = 0;
        o = o ? json_object_object_get(o, lists[i]) : NULL;
        o = o ? json_object_object_get(o, resource) : NULL;
        if (o && dv_quantity_parse(json_object_get_string(o), &nano) == 0)
            most = DV_MAX(most, nano / one);
    }
    return most;
}

static void check_sums(const char *before, const char *after)
{
    struct json_object *roots[] = {json_tokener_parse(before), json_tokener_parse(after)};
    struct json_object *lists[2];
    for (size_t i = 0; i < 2; i++)
        lists[i] = json_object_object_get(json_object_object_get(roots[i], "spec"), "containers");
    for (size_t c = 0; c < json_object_array_length(lists[0]); c++) {
        struct json_object *b = json_object_array_get_idx(lists[0], c),
                           *a = json_object_array_get_idx(lists[1], c);
        int64_t asked = gpus(b, DV_GPU_RESOURCE, 1),
                given = gpus(a, DV_GPU_RESOURCE, 1) + gpus(a, DV_GPU_RESOURCE_PERCENT, 100);
        if (asked) /* what the container says now counts; else its percents stay */
            assert_int_equal(asked, given);
    }
    json_object_put(roots[0]);
    json_object_put(roots[1]);
}

static void test_random(void **state)
{
    struct dv_rng rng = {11};
    unsigned seen[DV_ADMISSION_RESULTS] = {0};
    for (int i = 0; i < 20000; i++) {
        dv_cleanup(dv_str_done) struct dv_str s = {0};
        random_pod(&rng, &s);
        dv_cleanup(dv_admission_free) struct dv_admission *a = judge(dv_str_get(&s), NULL);
        check_result(dv_str_get(&s), a, NULL);
        if (a->object)
            check_sums(dv_str_get(&s), a->object);
        seen[a->result]++;
    }
    for (size_t i = 0; i < DV_ADMISSION_RESULTS; i++)
        assert_true(seen[i] > 100);
}

/* A rule knows names that somebody has declared, and no others. */
static void test_declared(void **state)
{
    static const struct {
        const char *strategy;
        bool declared;
        const char *resources;
        enum dv_admission_result result;
    } all[] = {
        {"whole", true, "{'limits':{'nvidia.com/gpu-a100':'1'}}", DV_ADMISSION_ACCEPTED},
        {"whole", false, "{'limits':{'nvidia.com/gpu-a100':'1'}}", DV_ADMISSION_REFUSED},
        {"governed", true, "{'limits':{'nvidia.com/gpu-a100':'1'}}", DV_ADMISSION_REFUSED},
        {"governed", false, "{'limits':{'nvidia.com/gpu-a100':'1'}}", DV_ADMISSION_ACCEPTED},
        {NULL, true, "{'limits':{'nvidia.com/gpu-a100':'1'}}", DV_ADMISSION_ACCEPTED},
        {"mig", true, "{'limits':{'nvidia.com/h100':'1'}}", DV_ADMISSION_REFUSED},
        {"mig", false, "{'limits':{'nvidia.com/h100':'1'}}", DV_ADMISSION_NONE},
        {"whole", true, "{'limits':{'nvidia.com/h100':'1'}}", DV_ADMISSION_ACCEPTED},
        {"mig", true, "{'limits':{'nvidia.com/other':'1'}}", DV_ADMISSION_NONE},
        {NULL, true, "{'limits':{'nvidia.com/h100':'0.5'}}", DV_ADMISSION_REFUSED},
        /* Turns without a name of their own; a fraction of a GPU is one all the same. */
        {"whole", true, "{'limits':{'nvidia.com/gpu':'1'}}", DV_ADMISSION_REFUSED},
        {"mps", true, "{'limits':{'nvidia.com/gpu':'1'}}", DV_ADMISSION_ACCEPTED},
        {"governed", true, "{'limits':{'nvidia.com/gpu':'0.25'}}", DV_ADMISSION_REWRITTEN},
    };
    struct dv_gpu_names names = {0};
    struct dv_err err;
    assert_int_equal(dv_gpu_names_add(&names,
                                      "nvidia.com/gpu-a100=whole,nvidia.com/h100=whole,"
                                      "nvidia.com/gpu=shared",
                                      &err),
                     0);
    for (size_t i = 0; i < DV_ARRAY_SIZE(all); i++) {
        dv_cleanup(dv_admission_free) struct dv_admission *a =
            judge_by(pod(all[i].resources), all[i].strategy, all[i].declared ? &names : NULL);
        if (a->result != all[i].result)
            fail_msg("%zu: %s", i, dv_admission_result_name(a->result));
    }
    /* What was rewritten stands for itself when it comes again, and makes way for a whole GPU. */
    static const char note[] = "{'w':{'limits':{'nvidia.com/gpu':'0.25'}}}";
    dv_cleanup(dv_admission_free) struct dv_admission *again =
        judge_by(noted(note, "{'limits':{'divvy.dev/gpu-percent':'25'}}"), NULL, &names);
    assert_int_equal(again->result, DV_ADMISSION_ACCEPTED);
    dv_cleanup(dv_admission_free) struct dv_admission *other =
        judge_by(noted(note, "{'limits':{'divvy.dev/gpu-percent':'25','nvidia.com/h100':'1'}}"),
                 NULL, &names);
    assert_int_equal(other->result, DV_ADMISSION_REWRITTEN);
    assert_null(strstr(other->object, "percent"));
}

/* ---- reviews -------------------------------------------------------------------------------- */

#define REVIEW(rest)                                                                               \
    "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'uid':'u1','name':'"  \
    "p','namespace':'ns'," rest "}}"

static struct dv_admission_answer review(const char *text, const char *strategy)
{
    struct dv_admission_rules rules = {.strategy = strategy};
    struct dv_admission_answer a;
    struct dv_err err;
    assert_int_equal(dv_admission_review(text, strlen(text), &rules, &a, &err), 0);
    return a;
}

static void test_review(void **state)
{
    const char *object = pod("{'limits':{'nvidia.com/gpu':'0.25'}}");
    struct dv_admission_answer a =
        review(quoted(REVIEW("'operation':'CREATE','dryRun':true,'object':%s"), object), NULL);
    assert_int_equal(a.result, DV_ADMISSION_REWRITTEN);
    assert_string_equal(a.subject, "Pod ns/p");
    assert_non_null(strstr(a.body, quoted("'uid':'u1','allowed':true,'patchType':'JSONPatch',"
                                          "'patch':'W3sib3AiOi")));
    dv_admission_answer_done(&a);

    a = review(quoted(REVIEW("'operation':'CREATE','object':%s"), object), "mig-only");
    assert_non_null(strstr(a.body, "\"allowed\":false"));
    assert_non_null(strstr(a.body, "\"code\":422"));
    assert_non_null(strstr(a.body, "allows only MIG devices; nvidia.com/mig-1g.10gb: 1 would"));
    dv_admission_answer_done(&a);

    a = review(quoted(REVIEW("'operation':'DELETE','object':null")), "mig-only");
    assert_string_equal(a.body,
                        quoted("{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview',"
                               "'response':{'uid':'u1','allowed':true}}"));
    dv_admission_answer_done(&a);
}

/* A rule that came later does not stop who changes something else, or takes finalizers away. */
static void test_update(void **state)
{
    const char *one = pod("{'limits':{'nvidia.com/gpu':'1'}}"),
               *two = pod("{'limits':{'nvidia.com/gpu':'2'}}");
    struct dv_admission_answer a =
        review(quoted(REVIEW("'operation':'UPDATE','object':%s,'oldObject':%s"), one, one), "mig");
    assert_int_equal(a.result, DV_ADMISSION_ACCEPTED);
    assert_true(a.warned);
    assert_non_null(strstr(a.body, "\"warnings\":[\"container"));
    dv_admission_answer_done(&a);
    one = pod("{'limits':{'nvidia.com/gpu':'1'}}");
    a = review(quoted(REVIEW("'operation':'UPDATE','object':%s,'oldObject':%s"), two, one), "mig");
    assert_int_equal(a.result, DV_ADMISSION_REFUSED);
    dv_admission_answer_done(&a);
}

static void test_malformed(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{",
        "{} {}",
        "nonsense",
        "{'apiVersion':'admission.k8s.io/v1'}",
        "{'apiVersion':'admission.k8s.io/v1beta1','kind':'AdmissionReview','request':{'uid':'1'}}",
        "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview'}",
        "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'uid':''}}",
        "{'apiVersion':'admission.k8s.io/v1','kind':'AdmissionReview','request':{'uid':7}}",
    };
    static const struct dv_admission_rules none;
    struct dv_admission_answer a;
    struct dv_admission *object;
    struct dv_err err;
    for (size_t i = 0; i < DV_ARRAY_SIZE(bad); i++) {
        const char *text = quoted("%s", bad[i]);
        err.msg[0] = 0;
        assert_int_equal(dv_admission_review(text, strlen(text), &none, &a, &err), -EINVAL);
        assert_true(err.msg[0]);
    }
    char *deep = malloc(LEN_MAX);
    memset(deep, '[', LEN_MAX);
    assert_int_equal(dv_admission_object(deep, LEN_MAX, &none, &object, &err), -EINVAL);
    assert_int_equal(dv_admission_object(deep, DV_ADMISSION_MAX + 1, &none, &object, &err), -E2BIG);
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patch),         cmocka_unit_test(test_forms),
        cmocka_unit_test(test_applied_again), cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_warnings),      cmocka_unit_test(test_namespace),
        cmocka_unit_test(test_declared),      cmocka_unit_test(test_random),
        cmocka_unit_test(test_review),        cmocka_unit_test(test_update),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
