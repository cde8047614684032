/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs.h"

int main(int argc, char **argv)
{
    return dv_ui_main(&dv_divvy_program, argc, argv);
}
