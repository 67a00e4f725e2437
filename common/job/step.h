// What coordinator and stages tell each other about a step. Plain data; any thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/metrics/phases.h"

struct step_order {
	uint64_t step; // counts from 0 without a gap
	float learning_rate;
	float beta1; // momentum, for SGD
	float beta2;
	uint64_t first_sample; // index over the whole run of this replica's first sample in this step
};

// A micro-batch's data: images for the first stage, labels for the last.
enum batch_kind { BATCH_IMAGES, BATCH_LABELS, BATCH_KIND_COUNT };

struct batch {
	uint64_t step;
	uint32_t micro_batch;
	enum batch_kind kind;
};

// Sums of squares of parameters' gradients, in the model's order.
struct gradient_norms {
	uint64_t step;
	uint32_t first_parameter; // index over the whole model
	const double *squares;    // [count]
	uint32_t count;
};

// The coordinator's answer to a step's gradient norms.
struct gradient_answer {
	uint64_t step;
	float scale; // of every gradient
	bool skip;   // the optimizer's step
	// With loss scaling:
	float next_loss_scale;
	float learning_rate; // in the place of the order's
};

struct step_report {
	uint64_t step;
	double loss;      // mean over the step; of the last stage
	uint32_t correct; // samples whose largest score is their label; of the last stage
	uint64_t step_ns; // from the stage's first instruction to its last
	uint64_t phase_ns[PHASE_COUNT];
	uint64_t sent_bytes, received_bytes; // to and from neighbours
};
