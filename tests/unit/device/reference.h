// The plainest arithmetic there is for a run of layers: loops over NCHW in double, one pass, no fusing. What a device
// computes is compared to this, also where it is NaN: as PyTorch does it. Slow on purpose; small shapes only. Dropout must have probability 0 here.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/model/model.h"
#include "common/model/optimizer.h"

struct reference {
	const struct model *model; // borrowed
	uint32_t first_layer, end_layer, n;
	double *values[MODEL_MAXIMUM_LAYERS + 1];     // [i]: input of layer first_layer + i; the last one is the output
	double *gradients[MODEL_MAXIMUM_LAYERS + 1];  // of the same tensors
	double *parameters[2 * MODEL_MAXIMUM_LAYERS]; // by the model's numbers; NULL outside the run
	double *parameter_gradients[2 * MODEL_MAXIMUM_LAYERS]; // added to by reference_backward
};

void reference_init(struct reference *reference, const struct model *model, uint32_t first_layer, uint32_t end_layer,
		    uint32_t n);
void reference_fini(struct reference *reference);
void reference_zero_gradients(struct reference *reference);
void reference_forward(struct reference *reference); // from values[0] to the last values
// From the last gradients to gradients[0], adding to parameter_gradients.
void reference_backward(struct reference *reference);
// Softmax cross-entropy of the last values: mean over n; fills the last gradients with d(loss * n / samples).
double reference_loss(struct reference *reference, const uint8_t *labels, uint64_t samples, uint32_t *ret_correct);

// torch.nn.functional.interpolate(bilinear, align_corners=False), / 255, (x - mean) / deviation.
void reference_images(const uint8_t *images, uint32_t n, uint32_t raw_size, uint32_t size, const float mean[3],
		      const float deviation[3], double *ret_values);

// One step of a tensor of `count` parameters as PyTorch or DeepSpeed documents it. `state` has 2 * count doubles.
void reference_optimizer(const struct optimizer *optimizer, const struct optimizer_step *step, uint64_t count,
			 const double *gradient, double *parameter, double *state);

uint64_t reference_values_count(const struct reference *reference, uint32_t index); // elements of values[index]
