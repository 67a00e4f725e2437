// sweep.md: throughput and efficiency as tables, a row for each number of nodes, a column for each micro-batch and pipeline size;
// where the time of each cell goes; and why cells are empty, out of memory or failed.
#pragma once

#include <stdio.h>

#include "coordinator/sweep/result.h"

void sweep_table_write(const struct sweep *sweep, FILE *out);
