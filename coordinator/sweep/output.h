// The folder that a sweep is written to: sweep.json, sweep.csv, sweep.md and sweep.gp, anew after every cell, each whole or not at
// all (a file beside it takes its place); and the pictures that gnuplot makes of the last. One thread.
#pragma once

#include <stdbool.h>

#include "common/base/error.h"
#include "coordinator/sweep/result.h"

struct output;

// Makes the folder where it is not there, and keeps other sweeps out of it. ERROR_USAGE where that cannot be.
bool output_open(const char *folder, struct output **ret_output, struct error *error);
void output_close(struct output *output); // takes NULL
const char *output_json_path(const struct output *output);
bool output_has_json(const struct output *output);
// ERROR_FAILED names the file and what is wrong (no space, no right).
bool output_write(const struct output *output, const struct sweep *sweep, struct error *error);

enum output_pictures { OUTPUT_DRAWN, OUTPUT_NO_GNUPLOT, OUTPUT_NOT_DRAWN };
// Runs gnuplot on sweep.gp. Where it comes to OUTPUT_NOT_DRAWN, `error` says why; pictures that were there stay.
enum output_pictures output_draw(const struct output *output, struct error *error);
