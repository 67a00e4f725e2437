// See program_spec.h.
#include "stage_server/device/program_spec.h"

#include "common/base/strings.h"

static bool check_images(const struct program_spec *spec, struct error *error)
{
	if (spec->raw_image_size < 1 || spec->raw_image_size > MODEL_MAXIMUM_IMAGE_SIZE)
		return error_set(error, ERROR_USAGE, "the image size is %u, must be within [1, %d]",
				 spec->raw_image_size, MODEL_MAXIMUM_IMAGE_SIZE);
	for (int i = 0; i < 3; i++)
		if (!(spec->standard_deviation[i] > 0.0f))
			return error_set(error, ERROR_USAGE, "the standard deviation of channel %d must be above 0", i);
	return true;
}

bool program_spec_check(const struct program_spec *spec, bool (*has_layer)(uint32_t kind), struct error *error)
{
	const struct model *model = spec->model;
	if (model->layer_count > MODEL_MAXIMUM_LAYERS || spec->first_layer >= spec->end_layer ||
	    spec->end_layer > model->layer_count)
		return error_set(error, ERROR_USAGE, "the stage has layers [%u, %u), the model has %u",
				 spec->first_layer, spec->end_layer, model->layer_count);
	if (spec->micro_batch_size < 1 || spec->micro_batch_size > MODEL_MAXIMUM_MICRO_BATCH_SIZE ||
	    spec->micro_batches < 1 || spec->micro_batches > 65536 || spec->slots < 1 || spec->slots > 65536)
		return error_set(error, ERROR_USAGE,
				 "micro-batch size %u, micro-batches %u and slots %u must each be within [1, 65536]",
				 spec->micro_batch_size, spec->micro_batches, spec->slots);
	if ((unsigned)spec->compute_type >= DATA_TYPE_COUNT || (unsigned)spec->boundary_type >= DATA_TYPE_COUNT)
		return error_set(error, ERROR_USAGE, "unknown data type: %u or %u is not below %d",
				 (unsigned)spec->compute_type, (unsigned)spec->boundary_type, DATA_TYPE_COUNT);
	for (uint32_t i = 0; i < model->layer_count; i++)
		if (!has_layer(model->layers[i].kind))
			return error_set(error, ERROR_USAGE, "layer %u is of unknown kind %u", i,
					 (unsigned)model->layers[i].kind);
	return spec->first_layer > 0 || check_images(spec, error);
}

bool program_spec_check_step(const struct optimizer *optimizer, const struct optimizer_step *step, struct error *error)
{
	return optimizer->kind != OPTIMIZER_SGD || !optimizer->no_momentum || step->beta1 == 0.0f ||
	       error_set(error, ERROR_USAGE, "optimizer_step: momentum is %g, but the plan has no momentum buffer",
			 strings_unsigned_nan((double)step->beta1));
}
