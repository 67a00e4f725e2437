// The folder that a sweep is written to: sweep.json, sweep.csv, sweep.md and sweep.gp, anew after every cell, each whole or not at
// all (a file beside it takes its place); and the pictures that gnuplot makes of the last. One thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "coordinator/sweep/result.h"

struct sweep_output;

// Makes the folder where it is not there, and keeps other sweeps out of it. ERROR_USAGE where that cannot be.
bool sweep_output_open(const char *folder, struct sweep_output **ret_output, struct error *error);
void sweep_output_close(struct sweep_output *output); // takes NULL
const char *sweep_output_json_path(const struct sweep_output *output);
bool sweep_output_has_json(const struct sweep_output *output);
// ERROR_FAILED names the file and what is wrong (no space, no right).
bool sweep_output_write(const struct sweep_output *output, const struct sweep *sweep, struct error *error);

enum sweep_output_pictures { SWEEP_DRAWN, SWEEP_NO_GNUPLOT, SWEEP_NOT_DRAWN };
// Runs gnuplot on sweep.gp. Where it comes to SWEEP_NOT_DRAWN, `error` says why: ERROR_CANCELLED when is_interrupted, which is asked
// all the while, says true; gnuplot has ended then. Pictures of an earlier call are not those of the tables beside them: where none
// are drawn they are removed, and *ret_removed says that there were some.
enum sweep_output_pictures sweep_output_draw(const struct sweep_output *output, bool (*is_interrupted)(void),
					     bool *ret_removed, struct error *error);
