// Final parameters against a file of them that another program made: not to the bit, but within a tolerance. Pure but for the file;
// one thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "coordinator/checkpoint/safetensors.h"
#include "coordinator/prove/capture.h"

// A parameter agrees with the file when it is within one of them.
struct against_tolerance {
	double relative; // of the norm of the difference to the norm of the file's tensor
	uint64_t ulp;    // of each element
};

struct against_parameter {
	double relative; // infinite where the file's tensor is zero and ours is not; NAN where one of the two is not a number
	uint64_t largest_ulp; // of its elements; UINT64_MAX where one of the two is not a number
	uint64_t differ;      // elements whose bits differ
	uint64_t element;     // with the largest difference, the first of several
	float ours, theirs;   // its values
	bool agrees;
};

struct against {
	struct against_tolerance tolerance;
	uint32_t count;
	struct against_parameter *parameters; // [count], those of the model
	uint32_t agree;
	uint64_t elements, differ;
	uint32_t worst; // the parameter with the largest relative difference
};

// Whether the file can be held against the model: each of its parameters is there, with its shape. ERROR_USAGE names all that are
// missing or have another shape, as far as the message has room. `ret_extra` gets the names of the file's other tensors, cut to `size`,
// or "".
bool against_check(const struct model *model, const struct safetensors *file, char *ret_extra, size_t size,
		   struct error *error);
// Of a file that against_check has passed.
bool against_compare(const struct capture *capture, const struct safetensors *file,
		     const struct against_tolerance *tolerance, struct against *ret_against, struct error *error);
void against_fini(struct against *against);
