/* SPDX-License-Identifier: Apache-2.0 */
#include "render/html.h"

#include "render/value.h"

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5b6570;--line:#d8dde3;"
    "--wash:#f5f7f9;--busy:#2167c5;--idle:#e0912f;--overhead:#8a6fc0;--free:#c3cad2;--ill:#c0392f}"
    "@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e7eaee;--soft:#a0a9b3;"
    "--line:#343b43;--wash:#1e2328;--busy:#5a9bef;--idle:#e8a54d;--overhead:#a88fe0;"
    "--free:#59636e;--ill:#e0695f}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:70rem;padding:2rem 1.5rem;background:var(--paper);"
    "color:var(--ink);font:15px/1.5 system-ui,sans-serif}"
    "h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}"
    "p{margin:.3rem 0}.soft{color:var(--soft)}"
    ".tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.4rem 0 0;padding:0}"
    ".tile{flex:1 1 11rem;background:var(--wash);border:1px solid var(--line);"
    "border-radius:.5rem;padding:.7rem .9rem;margin:0}"
    ".tile dt{color:var(--soft);font-size:.85rem}"
    ".tile dd{margin:0;font-size:1.45rem;font-variant-numeric:tabular-nums}"
    ".tile dd small{display:block;font-size:.85rem;color:var(--soft)}"
    "table{border-collapse:collapse;width:100%}caption{text-align:left;color:var(--soft)}"
    "th,td{padding:.32rem .55rem;border-bottom:1px solid var(--line);text-align:left;"
    "vertical-align:baseline}"
    "th{font-weight:600;font-size:.85rem;color:var(--soft)}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}th.n{white-"
    "space:normal}.day{white-space:nowrap}"
    "tfoot td,tfoot th{font-weight:600;color:var(--ink);border-bottom:0;"
    "border-top:2px solid var(--line)}"
    ".wide{overflow-x:auto}"
    ".strip{display:flex;height:1rem;border-radius:.25rem;overflow:hidden;background:var(--wash);"
    "min-width:9rem}"
    ".strip i{display:block}.busy{background:var(--busy)}.idle{background:var(--idle)}"
    ".overhead{background:var(--overhead)}.free{background:var(--free)}.ill{background:var(--ill)}"
    ".key{display:inline-block;width:.75em;height:.75em;border-radius:.15em;margin-right:.4em}"
    "td.bar{width:20%;min-width:6rem;vertical-align:middle}td.bar .strip{min-width:6rem}"
    ".gpu{margin:.9rem 0;break-inside:avoid}.gpu p{margin:.25rem 0}"
    "code{font-size:.9em;overflow-wrap:anywhere}"
    "footer{margin-top:2.5rem;font-size:.85rem}"
    "@page{size:A4;margin:14mm}"
    "@media print{:root{--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--wash:#f2f2f2;"
    "--busy:#2167c5;--idle:#e0912f;--overhead:#8a6fc0;--free:#c3cad2;--ill:#c0392f}"
    "body{max-width:none;padding:0;font-size:10pt}"
    "tr,.tile{break-inside:avoid}thead{display:table-header-group}"
    ".wide{overflow:visible}.wide table{font-size:8pt}"
    "i,.key,.tile{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

void dv_html_begin(const char *title, const char *more, struct dv_str *text)
{
    dv_str_add(text, "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
                     "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
                     "style-src 'unsafe-inline'\">\n"
                     "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
                     "<title>");
    dv_html_escape(title, text);
    dv_str_add(text, "</title>\n<style>");
    dv_str_add(text, style);
    dv_str_add(text, more ? more : "");
    dv_str_add(text, "</style>\n</head>\n<body>\n");
}

void dv_html_end(struct dv_str *text)
{
    dv_str_add(text, "</body>\n</html>\n");
}

void dv_html_escape(const char *v, struct dv_str *text)
{
    static const struct {
        char c;
        const char *as;
    } escapes[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    dv_cleanup(dv_str_done) struct dv_str clean = {0};
    dv_value_clean(v, &clean);
    if (clean.failed)
        text->failed = true;
    for (const char *c = dv_str_get(&clean); *c; c++) {
        const char *as = NULL;
        for (size_t i = 0; i < DV_ARRAY_SIZE(escapes) && !as; i++)
            as = escapes[i].c == *c ? escapes[i].as : NULL;
        if (as)
            dv_str_add(text, as);
        else
            dv_str_addc(text, *c);
    }
}

void dv_html_name(const char *name, struct dv_str *text)
{
    dv_str_add(text, "<bdi>");
    dv_html_escape(name, text);
    dv_str_add(text, "</bdi>");
}
