// Whether two trainings are the same to the bit, and where they first differ. Pure functions; any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/prove/capture.h"

// In the order in which a step makes them: that of a difference's causes.
enum difference_kind {
	DIFFERENCE_NONE,
	DIFFERENCE_LOSS,          // of a step
	DIFFERENCE_CORRECT,       // samples of a step whose largest score is their label
	DIFFERENCE_GRADIENT,      // sum of squares of a parameter's gradient in a step
	DIFFERENCE_GRADIENT_NORM, // over all parameters of a step
	DIFFERENCE_SKIPPED,       // with float16: whether the step was skipped
	DIFFERENCE_PARAMETER,     // an element of a final parameter
};

struct difference {
	enum difference_kind kind;
	uint64_t step;      // of all but DIFFERENCE_PARAMETER
	uint32_t parameter; // of DIFFERENCE_GRADIENT and DIFFERENCE_PARAMETER
	uint64_t element;   // of DIFFERENCE_PARAMETER: its index in the flat tensor
	double reference,
		got; // widened from float for DIFFERENCE_PARAMETER; whole numbers for DIFFERENCE_CORRECT and _SKIPPED
	uint64_t reference_bits, got_bits; // of the double, or of the float
	uint64_t ulp; // between them, in the unit of their own type; UINT64_MAX where one is not a number
};

// How many there are of each, and how many of them differ.
struct comparison {
	uint64_t steps; // compared: a loss and a gradient norm each
	uint64_t losses_differ, norms_differ;
	uint64_t gradients, gradients_differ; // norms of a parameter's gradient in a step
	uint32_t parameters, parameters_differ;
	uint64_t elements, elements_differ;
	struct difference first;       // of all, in time; a step's from the last layer back, as its backward pass runs
	struct difference first_value; // of final parameters
	// Something in either training is infinite or not a number, from this step on; in the final parameters alone: `steps`.
	bool diverged;
	uint64_t diverged_step;
};

// Of the same model and number of steps.
void compare_captures(const struct capture *reference, const struct capture *got, struct comparison *ret_comparison);
static inline bool comparison_is_equal(const struct comparison *comparison)
{
	return comparison->first.kind == DIFFERENCE_NONE;
}

bool compare_same_bits(float a, float b); // so may two NANs have, and the two zeros have not
// Numbers between two of them, one of them counted: 0 for equal ones and for the two zeros. UINT64_MAX where one is not a number.
uint64_t compare_ulp_float(float a, float b);
uint64_t compare_ulp_double(double a, double b);
