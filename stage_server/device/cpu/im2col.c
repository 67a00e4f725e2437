// See im2col.h. The images' channels are brought next to each other first, so that the K * C values of one row of a window are
// one run of memory; and the gradient to (F, positions), which the library multiplies up to a fifth faster than its transpose.
#include "stage_server/device/cpu/im2col.h"

#include <stdlib.h>
#include <string.h>

#include "stage_server/device/cpu/vector.h"

enum {
	MAXIMUM_POSITIONS = 256,
	MAXIMUM_SCRATCHPAD_BYTES = 64 << 20,
	COLUMNS_BYTES = 8 << 20, // at a time: the product of fewer positions would pass over the result more often
	ALIGNMENT = 128,
	ROWS_AT_ONCE = 4, // rows of output positions that a thread takes
};

struct im2col {
	struct window_shape shape;
	struct layout *images, *gradient, *weights;         // channels last
	struct kernel *reorder_images, *reorder_gradient;   // NULL: they come so
	int64_t samples;                                    // whose columns are made at a time
	uint64_t images_at, gradient_at, columns_at, bytes; // in the scratchpad; the reorders' own is before them
};

static uint64_t aligned(uint64_t bytes)
{
	return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

// In double: any shape that a plan can name is tried here.
static bool is_worth_a_trial(const struct window_shape *s)
{
	double positions = (double)s->output_height * (double)s->output_width;
	double window = (double)s->kernel_size * (double)s->kernel_size * (double)s->channels;
	double floats = (double)s->n * (double)s->height * (double)s->width * (double)s->channels +
			(double)s->n * positions * (double)s->filters + positions * window;
	return positions <= MAXIMUM_POSITIONS &&
	       floats * sizeof(float) + COLUMNS_BYTES + 4 * ALIGNMENT <= MAXIMUM_SCRATCHPAD_BYTES;
}

// The samples in equal parts, each with at most COLUMNS_BYTES of columns or a single sample.
static void divide(struct im2col *im2col, uint64_t sample_bytes)
{
	int64_t n = im2col->shape.n, most = (int64_t)(COLUMNS_BYTES / sample_bytes);
	int64_t parts = most > 1 ? (n + most - 1) / most : n;
	im2col->samples = (n + parts - 1) / parts;
}

bool im2col_create(struct onednn *onednn, const struct window_shape *shape, const struct layout *images,
		   const struct layout *gradient, struct im2col **ret_im2col, struct error *error)
{
	*ret_im2col = NULL;
	if (!is_worth_a_trial(shape))
		return true;
	struct im2col *im2col = calloc(1, sizeof(*im2col));
	if (im2col == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	const struct window_shape *s = &im2col->shape;
	im2col->shape = *shape;
	im2col->images = layout_create_channels_last((int64_t[]){s->n, s->channels, s->height, s->width});
	im2col->gradient =
		layout_create_channels_first((int64_t[]){s->n, s->filters, s->output_height, s->output_width});
	im2col->weights =
		layout_create_channels_last((int64_t[]){s->filters, s->channels, s->kernel_size, s->kernel_size});
	if (im2col->images == NULL || im2col->gradient == NULL || im2col->weights == NULL) {
		im2col_destroy(im2col);
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	}
	if (!kernel_create_reorder(onednn, images, im2col->images, &im2col->reorder_images, error) ||
	    !kernel_create_reorder(onednn, gradient, im2col->gradient, &im2col->reorder_gradient, error)) {
		im2col_destroy(im2col);
		return false;
	}
	uint64_t sample_bytes =
		(uint64_t)(s->output_height * s->output_width * s->kernel_size * s->kernel_size * s->channels) *
		sizeof(float);
	divide(im2col, sample_bytes);
	uint64_t own = kernel_scratchpad_bytes(im2col->reorder_images);
	if (kernel_scratchpad_bytes(im2col->reorder_gradient) > own)
		own = kernel_scratchpad_bytes(im2col->reorder_gradient);
	im2col->images_at = aligned(own);
	im2col->gradient_at = im2col->images_at + aligned(layout_bytes(im2col->images));
	im2col->columns_at = im2col->gradient_at + aligned(layout_bytes(im2col->gradient));
	im2col->bytes = im2col->columns_at + (uint64_t)im2col->samples * sample_bytes;
	*ret_im2col = im2col;
	return true;
}

void im2col_destroy(struct im2col *im2col)
{
	if (im2col == NULL)
		return;
	kernel_destroy(im2col->reorder_images);
	kernel_destroy(im2col->reorder_gradient);
	layout_destroy(im2col->images);
	layout_destroy(im2col->gradient);
	layout_destroy(im2col->weights);
	free(im2col);
}

uint64_t im2col_scratchpad_bytes(const struct im2col *im2col)
{
	return im2col != NULL ? im2col->bytes : 0;
}

const struct layout *im2col_layout(const struct im2col *im2col)
{
	return im2col->weights;
}

struct gather {
	const struct window_shape *shape;
	const float *images; // of the first sample, (H, W, C)
	float *columns;      // (OH * OW, K, K, C) a sample
};

// What of a window lies outside of the image is zeros.
static void gather_window(const struct window_shape *s, const float *image, int64_t top, int64_t left, float *to)
{
	int64_t k = s->kernel_size, c = s->channels;
	int64_t begin = left < 0 ? -left : 0, end = s->width - left < k ? s->width - left : k;
	for (int64_t y = 0; y < k; y++, to += k * c) {
		if (top + y < 0 || top + y >= s->height || begin >= end) {
			memset(to, 0, (size_t)(k * c) * sizeof(float));
			continue;
		}
		const float *from = image + ((top + y) * s->width + left + begin) * c;
		memset(to, 0, (size_t)(begin * c) * sizeof(float));
		memcpy(to + begin * c, from, (size_t)((end - begin) * c) * sizeof(float));
		memset(to + end * c, 0, (size_t)((k - end) * c) * sizeof(float));
	}
}

// Rows of output positions, over all samples.
static void gather_rows(void *context, uint64_t begin, uint64_t end)
{
	const struct gather *g = context;
	const struct window_shape *s = g->shape;
	int64_t window = s->kernel_size * s->kernel_size * s->channels;
	for (int64_t row = (int64_t)begin; row < (int64_t)end; row++) {
		int64_t sample = row / s->output_height, top = row % s->output_height * s->stride - s->padding;
		const float *image = g->images + sample * s->height * s->width * s->channels;
		float *to = g->columns + row * s->output_width * window;
		for (int64_t x = 0; x < s->output_width; x++, to += window)
			gather_window(s, image, top, x * s->stride - s->padding, to);
	}
}

static bool bring(struct kernel *reorder, void *scratchpad, void *from, void *to, float **ret_values)
{
	*ret_values = reorder != NULL ? to : from;
	void *pointers[ARGUMENT_COUNT] = {[ARGUMENT_SOURCE] = from, [ARGUMENT_DESTINATION] = to};
	return reorder == NULL || kernel_run(reorder, scratchpad, pointers);
}

bool im2col_run(const struct im2col *im2col, uint32_t threads, void *scratchpad, bool add,
		void *const pointers[ARGUMENT_COUNT])
{
	const struct window_shape *s = &im2col->shape;
	uint8_t *base = scratchpad;
	float *images, *gradient, *columns = (float *)(base + im2col->columns_at);
	if (!bring(im2col->reorder_images, scratchpad, pointers[ARGUMENT_SOURCE], base + im2col->images_at, &images) ||
	    !bring(im2col->reorder_gradient, scratchpad, pointers[ARGUMENT_DESTINATION_GRADIENT],
		   base + im2col->gradient_at, &gradient))
		return false;
	int64_t positions = s->output_height * s->output_width;
	int64_t window = s->kernel_size * s->kernel_size * s->channels;
	for (int64_t first = 0; first < s->n; first += im2col->samples) {
		int64_t samples = s->n - first < im2col->samples ? s->n - first : im2col->samples;
		struct gather gather = {
			.shape = s, .images = images + first * s->height * s->width * s->channels, .columns = columns};
		vector_for(threads, (uint64_t)(samples * s->output_height), ROWS_AT_ONCE, gather_rows, &gather);
		if (!onednn_sgemm(false, false, s->filters, window, samples * positions, gradient + first * positions,
				  s->n * positions, columns, window, add || first > 0 ? 1.0f : 0.0f,
				  pointers[ARGUMENT_WEIGHTS_GRADIENT], window))
			return false;
	}
	vector_row_sums(threads, (uint64_t)s->filters, (uint64_t)(s->n * positions), gradient, add,
			pointers[ARGUMENT_BIAS_GRADIENT]);
	return true;
}
