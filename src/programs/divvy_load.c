/* SPDX-License-Identifier: Apache-2.0 */
#include "load/load.h"

int main(int argc, char **argv)
{
    return dv_ui_main(&dv_load_program, argc, argv);
}
