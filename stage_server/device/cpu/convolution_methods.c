// See convolution_methods.h.
#include "stage_server/device/cpu/convolution_methods.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)METHOD_DIRECT == (int)ALGORITHM_DIRECT && (int)METHOD_WINOGRAD == (int)ALGORITHM_WINOGRAD,
	       "kernels are indexed by either");

// Winograd's transformed tensors: a stage's memory must not grow by more for a kernel that may lose.
enum { MAXIMUM_WINOGRAD_BYTES = 128 << 20, ALIGNMENT = 128 };

static bool create_direct(struct onednn *onednn, struct convolution_methods *m, enum kernel_pass pass,
			  struct error *error)
{
	return kernel_create_convolution(onednn, pass, ALGORITHM_DIRECT, &m->shape,
					 m->kernels[PASS_FORWARD][METHOD_DIRECT], &m->kernels[pass][METHOD_DIRECT],
					 error);
}

// With AVX2 and small images the two passes may get kernels of two kinds, with a layout each.
static bool create_input_reorder(struct onednn *onednn, struct convolution_methods *m, struct error *error)
{
	return kernel_create_reorder(onednn, kernel_layout(m->kernels[PASS_FORWARD][METHOD_DIRECT], ARGUMENT_SOURCE),
				     kernel_layout(m->kernels[PASS_BACKWARD_WEIGHT][METHOD_DIRECT], ARGUMENT_SOURCE),
				     &m->input_reorder, error);
}

static bool same(const struct kernel *a, const struct kernel *b, enum kernel_argument argument)
{
	return layout_equal(kernel_layout(a, argument), kernel_layout(b, argument));
}

// Whether it can stand in for the direct kernel. Its weights may also be those of the direct forward pass.
static bool is_interchangeable(const struct convolution_methods *m, enum kernel_pass pass,
			       const struct kernel *winograd)
{
	const struct kernel *direct = m->kernels[pass][METHOD_DIRECT],
			    *forward = m->kernels[PASS_FORWARD][METHOD_DIRECT];
	if (kernel_scratchpad_bytes(winograd) > MAXIMUM_WINOGRAD_BYTES)
		return false;
	switch (pass) {
	case PASS_FORWARD:
		return same(direct, winograd, ARGUMENT_SOURCE) && same(direct, winograd, ARGUMENT_WEIGHTS) &&
		       same(direct, winograd, ARGUMENT_BIAS) && same(direct, winograd, ARGUMENT_DESTINATION);
	case PASS_BACKWARD_WEIGHT:
		return same(direct, winograd, ARGUMENT_SOURCE) &&
		       same(direct, winograd, ARGUMENT_DESTINATION_GRADIENT) &&
		       same(direct, winograd, ARGUMENT_WEIGHTS_GRADIENT) &&
		       same(direct, winograd, ARGUMENT_BIAS_GRADIENT);
	case PASS_BACKWARD_INPUT:
		return same(direct, winograd, ARGUMENT_SOURCE_GRADIENT) &&
		       same(direct, winograd, ARGUMENT_DESTINATION_GRADIENT) &&
		       (same(direct, winograd, ARGUMENT_WEIGHTS) || same(forward, winograd, ARGUMENT_WEIGHTS));
	}
	return false;
}

static void try_winograd(struct onednn *onednn, struct convolution_methods *m, enum kernel_pass pass)
{
	struct kernel *kernel = NULL;
	if (!kernel_create_convolution(onednn, pass, ALGORITHM_WINOGRAD, &m->shape,
				       m->kernels[PASS_FORWARD][METHOD_DIRECT], &kernel, NULL))
		return;
	if (is_interchangeable(m, pass, kernel))
		m->kernels[pass][METHOD_WINOGRAD] = kernel;
	else
		kernel_destroy(kernel);
}

static uint64_t kernels_scratchpad_bytes(const struct convolution_methods *m)
{
	uint64_t largest = kernel_scratchpad_bytes(m->input_reorder);
	for (int pass = 0; pass < 3; pass++)
		for (int algorithm = 0; algorithm < ALGORITHM_COUNT; algorithm++) {
			uint64_t bytes = kernel_scratchpad_bytes(m->kernels[pass][algorithm]);
			largest = bytes > largest ? bytes : largest;
		}
	return largest;
}

bool convolution_methods_create(struct onednn *onednn, const struct window_shape *shape, bool training,
				bool input_gradient_wanted, struct convolution_methods **ret_methods,
				struct error *error)
{
	struct convolution_methods *m = calloc(1, sizeof(*m));
	if (m == NULL)
		return error_set(error, ERROR_OUT_OF_MEMORY, "out of memory");
	m->shape = *shape;
	if (!create_direct(onednn, m, PASS_FORWARD, error) ||
	    (training &&
	     (!create_direct(onednn, m, PASS_BACKWARD_WEIGHT, error) || !create_input_reorder(onednn, m, error))) ||
	    (training && input_gradient_wanted && !create_direct(onednn, m, PASS_BACKWARD_INPUT, error))) {
		convolution_methods_destroy(m);
		return false;
	}
	// What cannot be made is not among the choices.
	for (enum kernel_pass pass = PASS_FORWARD; pass <= PASS_BACKWARD_WEIGHT; pass++)
		if (m->kernels[pass][METHOD_DIRECT] != NULL)
			try_winograd(onednn, m, pass);
	const struct kernel *backward_weight = m->kernels[PASS_BACKWARD_WEIGHT][METHOD_DIRECT];
	if (backward_weight != NULL)
		im2col_create(onednn, shape, kernel_layout(m->kernels[PASS_FORWARD][METHOD_DIRECT], ARGUMENT_SOURCE),
			      kernel_layout(backward_weight, ARGUMENT_DESTINATION_GRADIENT), &m->im2col, NULL);
	m->reordered_at = (kernels_scratchpad_bytes(m) / ALIGNMENT + 1) * ALIGNMENT;
	*ret_methods = m;
	return true;
}

void convolution_methods_destroy(struct convolution_methods *m)
{
	if (m == NULL)
		return;
	for (int pass = 0; pass < 3; pass++)
		for (int algorithm = ALGORITHM_COUNT; algorithm-- > 0;)
			kernel_destroy(m->kernels[pass][algorithm]);
	im2col_destroy(m->im2col);
	kernel_destroy(m->input_reorder);
	free(m);
}

bool convolution_methods_have(const struct convolution_methods *m, enum kernel_pass pass,
			      enum convolution_method method)
{
	if (method == METHOD_IM2COL)
		return pass == PASS_BACKWARD_WEIGHT && m->im2col != NULL;
	return m->kernels[pass][method] != NULL;
}

void convolution_methods_name(const struct convolution_methods *m, enum kernel_pass pass,
			      enum convolution_method method, char into[METHOD_NAME_SIZE])
{
	if (method == METHOD_IM2COL)
		snprintf(into, METHOD_NAME_SIZE, "im2col/sgemm");
	else
		snprintf(into, METHOD_NAME_SIZE, "%s/%s", method == METHOD_DIRECT ? "direct" : "winograd",
			 kernel_name(m->kernels[pass][method]));
}

uint64_t convolution_methods_scratchpad_bytes(const struct convolution_methods *m)
{
	if (m == NULL)
		return 0;
	uint64_t largest = kernels_scratchpad_bytes(m), im2col = im2col_scratchpad_bytes(m->im2col);
	if (m->input_reorder != NULL)
		largest = m->reordered_at + layout_bytes(kernel_layout(m->input_reorder, ARGUMENT_DESTINATION));
	return largest > im2col ? largest : im2col;
}

bool convolution_methods_run(const struct convolution_methods *m, enum kernel_pass pass, enum convolution_method method,
			     uint32_t threads, void *scratchpad, bool add, void *const pointers[ARGUMENT_COUNT])
{
	if (method == METHOD_IM2COL)
		return im2col_run(m->im2col, threads, scratchpad, add, pointers);
	if (pass != PASS_BACKWARD_WEIGHT || m->input_reorder == NULL)
		return kernel_run(m->kernels[pass][method], scratchpad, pointers);
	void *replaced[ARGUMENT_COUNT], *reordered = (uint8_t *)scratchpad + m->reordered_at;
	memcpy(replaced, pointers, sizeof(replaced));
	replaced[ARGUMENT_SOURCE] = reordered;
	return kernel_run(m->input_reorder, scratchpad,
			  (void *[ARGUMENT_COUNT]){
				  [ARGUMENT_SOURCE] = pointers[ARGUMENT_SOURCE],
				  [ARGUMENT_DESTINATION] = reordered,
			  }) &&
	       kernel_run(m->kernels[pass][method], scratchpad, replaced);
}
