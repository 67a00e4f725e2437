// Images: uint8 planes of any size to the network's input, resized bilinearly (align_corners false, no antialias, as
// torch.nn.functional.interpolate), divided by 255 and normalised per channel.
#include <omp.h>

#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

// What output pixel `i` is made of.
struct tap {
	uint16_t low, high;
	float weight; // of `high`
};

struct resize {
	const uint8_t *images; // (planes, raw, raw)
	float *values;         // (planes, size, size)
	uint32_t raw, size;
	const float *mean, *deviation; // (3)
	struct tap taps[MODEL_MAXIMUM_IMAGE_SIZE];
};

static void fill_taps(struct resize *r)
{
	double scale = (double)r->raw / r->size;
	for (uint32_t i = 0; i < r->size; i++) {
		double source = (i + 0.5) * scale - 0.5;
		source = source < 0.0 ? 0.0 : source;
		uint32_t low = (uint32_t)source;
		low = low < r->raw ? low : r->raw - 1;
		r->taps[i].low = (uint16_t)low;
		r->taps[i].high = (uint16_t)(low + 1 < r->raw ? low + 1 : low);
		r->taps[i].weight = (float)(source - low);
	}
}

static void resize_row(const struct resize *r, const uint8_t *pixels, float *row)
{
	for (uint32_t x = 0; x < r->size; x++) {
		struct tap tap = r->taps[x];
		row[x] = (1.0f - tap.weight) * (float)pixels[tap.low] + tap.weight * (float)pixels[tap.high];
	}
}

VECTOR_CLONES static void blend_rows(const float *restrict top, const float *restrict bottom, float weight, float mean,
				     float deviation, uint32_t count, float *restrict to)
{
	for (uint32_t x = 0; x < count; x++)
		to[x] = (((1.0f - weight) * top[x] + weight * bottom[x]) / 255.0f - mean) / deviation;
}

// Each raw row is resized once: the taps of the rows only ever move down.
static void resize_planes(void *context, uint64_t begin, uint64_t end)
{
	const struct resize *r = context;
	float rows[2][MODEL_MAXIMUM_IMAGE_SIZE];
	for (uint64_t plane = begin; plane < end; plane++) {
		const uint8_t *pixels = r->images + plane * r->raw * r->raw;
		float *to = r->values + plane * r->size * r->size;
		int64_t held[2] = {-1, -1}; // the raw row in rows[row % 2]
		for (uint32_t y = 0; y < r->size; y++, to += r->size) {
			struct tap tap = r->taps[y];
			uint16_t wanted[2] = {tap.low, tap.high};
			for (int i = 0; i < 2; i++)
				if (held[wanted[i] % 2] != wanted[i]) {
					resize_row(r, pixels + (uint64_t)wanted[i] * r->raw, rows[wanted[i] % 2]);
					held[wanted[i] % 2] = wanted[i];
				}
			blend_rows(rows[tap.low % 2], rows[tap.high % 2], tap.weight, r->mean[plane % 3],
				   r->deviation[plane % 3], r->size, to);
		}
	}
}

bool cpu_load_images(struct program *program, uint32_t slot, const uint8_t *images, struct device_completion completion,
		     struct error *error)
{
	if (program->first_layer != 0 || slot >= program->slots)
		return error_set(error, ERROR_FAILED, "load_images: slot %u, the stage has %u and begins with layer %u",
				 slot, program->slots, program->first_layer);
	omp_set_num_threads((int)program->device->threads);
	void *input = program_pointer(program, &program->input, slot);
	struct resize resize = {
		.images = images,
		.values =
			program->input_import != NULL ? program_pointer(program, &program->plain_temporary, 0) : input,
		.raw = program->raw_image_size,
		.size = program->model.image_size,
		.mean = program->mean,
		.deviation = program->standard_deviation,
	};
	fill_taps(&resize);
	vector_for(program->device->threads, 3ull * program->n, 1, resize_planes, &resize);
	if (program->input_import != NULL && !program_convert(program, program->input_import, resize.values, input, 0))
		return error_set(error, ERROR_FAILED, "load_images failed in oneDNN");
	device_complete(completion, true);
	return true;
}
