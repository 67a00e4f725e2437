// Going on with a sweep that was ended, or that gets more cells.
#pragma once

#include "coordinator/sweep/result.h"

// Takes over from `before`, which was read from `path`, the cells that have a result: done, or out of memory. Those that failed or
// are missing stay to be run. ERROR_USAGE, and nothing is taken over, where a setting differs (the message names up to three,
// with both values) or where `before` has a result that `sweep` has no cell for and would lose. A `before` without any result holds nobody to its setting.
bool sweep_resume_from(struct sweep *sweep, const struct sweep *before, const char *path, struct error *error);
