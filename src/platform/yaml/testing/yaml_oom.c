/* SPDX-License-Identifier: Apache-2.0 */
/* The YAML library's allocations, which base/testing/oom.h does not reach, fail in turn with ours.
 */
#include "base/testing/oom.h"

#include <string.h>
#include <yaml.h>

int __real_yaml_parser_initialize(yaml_parser_t *parser);
int __real_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);
int __wrap_yaml_parser_initialize(yaml_parser_t *parser);
int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event);

int __wrap_yaml_parser_initialize(yaml_parser_t *parser)
{
    return dv_oom_fails() ? 0 : __real_yaml_parser_initialize(parser);
}

int __wrap_yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event)
{
    if (!dv_oom_fails())
        return __real_yaml_parser_parse(parser, event);
    memset(event, 0, sizeof *event);
    parser->error = YAML_MEMORY_ERROR;
    return 0;
}
