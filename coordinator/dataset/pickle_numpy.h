// The opcodes of a pickle that name and call functions. Nothing is executed: the three functions that make numpy's arrays are known by
// what they return; every other name is refused. One thread.
#pragma once

#include "coordinator/dataset/pickle.h"

bool pickle_push_function(struct pickle *p, struct error *error); // GLOBAL: its module and name come next in the file
bool pickle_reduce(struct pickle *p, struct error *error);        // REDUCE: calls a function
bool pickle_build(struct pickle *p, struct error *error);         // BUILD: fills an array
