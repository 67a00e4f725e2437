// The opcodes that name and call functions. Nothing is executed. For the functions and types that make numpy's arrays, the reader knows
// the result of the call; every other name is refused. One thread.
#pragma once

#include "coordinator/dataset/pickle.h"

bool pickle_push_function(struct pickle *p, struct error *error); // GLOBAL; module and name follow in the file
bool pickle_reduce(struct pickle *p, struct error *error);        // REDUCE: calls a function
bool pickle_build(struct pickle *p, struct error *error);         // BUILD: fills an array
