// sweep.gp: a script for gnuplot (5.4 or newer) that draws sweep.png and sweep.svg, with the figures in it. A row of two panels for
// each size of micro-batch: bars of throughput in groups of nodes, a colour for each pipeline size, with the mark that the devices
// would reach if each were as fast as one alone, and stubs where memory ends; beside it lines of efficiency against 1.
#pragma once

#include <stdio.h>

#include "coordinator/sweep/result.h"

// The pictures' names get the string variable `suffix` appended, where it is set (gnuplot -e "suffix='.part'").
void sweep_plot_write(const struct sweep *sweep, FILE *out);
