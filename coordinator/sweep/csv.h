// sweep.csv: a header, then a row for each cell in the grid's order; what a cell has not is empty. Quoted as RFC 4180 says,
// lines end in a newline alone.
#pragma once

#include <stdio.h>

#include "coordinator/sweep/result.h"

void sweep_csv_write(const struct sweep *sweep, FILE *out);
