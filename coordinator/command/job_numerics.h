// Where a command's jobs find the answers about kernels, and keep them: --numerics FILE, or the user's cache. One thread.
#pragma once

#include "coordinator/command/job_arguments.h"
#include "coordinator/numerics/numerics.h"

bool job_numerics_open(const struct job_arguments *arguments, struct numerics **ret_numerics, struct error *error);
