// penstock plan over the cells of an experiment. One thread.
#pragma once

#include <stdio.h>

#include "coordinator/command/job_arguments.h"

// Plans each cell and prints what every stage needs and whether it fits. Lines of JSON go to `json`, unless that is NULL. Returns
// false only when a cell cannot be planned at all; *ret_all_fit says whether every cell fits.
bool plan_cells(const struct job_arguments *arguments, FILE *json, bool *ret_all_fit, struct error *error);
