// See reference.h. The formulas are those of PyTorch's documentation of Conv2d, MaxPool2d, AdaptiveAvgPool2d, Linear,
// CrossEntropyLoss, SGD, Adam and AdamW; and DeepSpeed its Lamb, Lion and Adagrad.
#include "tests/unit/device/reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *zeroed(uint64_t count)
{
	void *memory = calloc(count ? count : 1, sizeof(double));
	if (!memory) {
		fprintf(stderr, "reference: out of memory\n");
		abort(); // a test program: nothing to clean up for
	}
	return memory;
}

uint64_t reference_values_count(const struct reference *r, uint32_t index)
{
	const struct layer *layers = r->model->layers + r->first_layer;
	return r->n * shape_count(index == 0 ? layers[0].input : layers[index - 1].output);
}

void reference_init(struct reference *r, const struct model *model, uint32_t first_layer, uint32_t end_layer,
		    uint32_t n)
{
	memset(r, 0, sizeof(*r));
	r->model = model;
	r->first_layer = first_layer;
	r->end_layer = end_layer;
	r->n = n;
	for (uint32_t i = 0; i <= end_layer - first_layer; i++) {
		r->values[i] = zeroed(reference_values_count(r, i));
		r->gradients[i] = zeroed(reference_values_count(r, i));
	}
	uint32_t end = model_first_parameter(model, end_layer);
	for (uint32_t p = model_first_parameter(model, first_layer); p < end; p++) {
		struct parameter parameter;
		model_parameter(model, p, &parameter);
		r->parameters[p] = zeroed(parameter.count);
		r->parameter_gradients[p] = zeroed(parameter.count);
	}
}

void reference_fini(struct reference *r)
{
	for (uint32_t i = 0; i <= MODEL_MAXIMUM_LAYERS; i++) {
		free(r->values[i]);
		free(r->gradients[i]);
	}
	for (uint32_t p = 0; p < 2 * MODEL_MAXIMUM_LAYERS; p++) {
		free(r->parameters[p]);
		free(r->parameter_gradients[p]);
	}
	memset(r, 0, sizeof(*r));
}

void reference_zero_gradients(struct reference *r)
{
	for (uint32_t p = 0; p < 2 * MODEL_MAXIMUM_LAYERS; p++) {
		if (!r->parameter_gradients[p])
			continue;
		struct parameter parameter;
		model_parameter(r->model, p, &parameter);
		memset(r->parameter_gradients[p], 0, parameter.count * sizeof(double));
	}
}

// One walk over every multiply-add of a convolution serves all three passes: `visit` gets the four offsets.
struct convolution {
	const double *x, *w, *dy;
	double *y, *dx, *dw;
};

static void convolve(const struct layer *l, uint32_t n, const struct convolution *c)
{
	int height = (int)l->input.height, width = (int)l->input.width;
	uint32_t size = l->kernel_size, out_height = l->output.height, out_width = l->output.width;
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < l->out_channels; k++)
			for (uint32_t oh = 0; oh < out_height; oh++)
				for (uint32_t ow = 0; ow < out_width; ow++) {
					uint64_t out =
						(((uint64_t)i * l->out_channels + k) * out_height + oh) * out_width +
						ow;
					for (uint32_t ch = 0; ch < l->in_channels; ch++)
						for (uint32_t r = 0; r < size; r++)
							for (uint32_t s = 0; s < size; s++) {
								int h = (int)(oh * l->stride + r) - (int)l->padding;
								int w = (int)(ow * l->stride + s) - (int)l->padding;
								if (h < 0 || h >= height || w < 0 || w >= width)
									continue;
								uint64_t in =
									(((uint64_t)i * l->in_channels + ch) * height +
									 h) * width +
									w;
								uint64_t weight =
									(((uint64_t)k * l->in_channels + ch) * size +
									 r) * size +
									s;
								if (c->y) {
									c->y[out] += c->x[in] * c->w[weight];
								} else {
									c->dx[in] += c->dy[out] * c->w[weight];
									c->dw[weight] += c->dy[out] * c->x[in];
								}
							}
				}
}

// Window [from, end) of output `i` of `out` over `in` inputs.
static void adaptive_window(uint32_t i, uint32_t in, uint32_t out, uint32_t *ret_from, uint32_t *ret_end)
{
	*ret_from = i * in / out;
	*ret_end = ((i + 1) * in + out - 1) / out;
}

// Both pools: over each output's window, forward, or spreading its gradient.
static void pool(const struct layer *l, uint32_t n, const double *x, double *y, const double *dy, double *dx)
{
	uint32_t in_height = l->input.height, in_width = l->input.width;
	uint64_t out = 0;
	for (uint64_t plane = 0; plane < (uint64_t)n * l->input.channels; plane++)
		for (uint32_t oh = 0; oh < l->output.height; oh++)
			for (uint32_t ow = 0; ow < l->output.width; ow++, out++) {
				uint32_t h0 = oh * l->stride, h1 = h0 + l->kernel_size;
				uint32_t w0 = ow * l->stride, w1 = w0 + l->kernel_size;
				bool average = l->kind == LAYER_ADAPTIVE_AVERAGE_POOL;
				if (average) {
					adaptive_window(oh, in_height, l->output.height, &h0, &h1);
					adaptive_window(ow, in_width, l->output.width, &w0, &w1);
				}
				double sum = 0, share = 1.0 / ((double)(h1 - h0) * (w1 - w0));
				uint64_t largest = (plane * in_height + h0) * in_width + w0;
				for (uint32_t h = h0; h < h1; h++)
					for (uint32_t w = w0; w < w1; w++) {
						uint64_t in = (plane * in_height + h) * in_width + w;
						sum += x[in];
						if (x[in] > x[largest] || isnan(x[in]))
							largest = in;
						if (dx && average)
							dx[in] += dy[out] * share;
					}
				if (y)
					y[out] = average ? sum * share : x[largest];
				if (dx && !average)
					dx[largest] += dy[out];
			}
}

static void linear_forward(const struct layer *l, uint32_t n, const double *x, const double *w, double *y)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t o = 0; o < l->out_channels; o++)
			for (uint32_t f = 0; f < l->in_channels; f++)
				y[i * l->out_channels + o] +=
					x[i * l->in_channels + f] * w[(uint64_t)o * l->in_channels + f];
}

static void linear_backward(const struct layer *l, uint32_t n, const struct convolution *c)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t o = 0; o < l->out_channels; o++)
			for (uint32_t f = 0; f < l->in_channels; f++) {
				double dy = c->dy[i * l->out_channels + o];
				c->dx[i * l->in_channels + f] += dy * c->w[(uint64_t)o * l->in_channels + f];
				c->dw[(uint64_t)o * l->in_channels + f] += dy * c->x[i * l->in_channels + f];
			}
}

void reference_forward(struct reference *r)
{
	for (uint32_t i = 0; i < r->end_layer - r->first_layer; i++) {
		const struct layer *l = &r->model->layers[r->first_layer + i];
		const double *x = r->values[i];
		double *y = r->values[i + 1];
		uint64_t count = reference_values_count(r, i + 1);
		uint32_t p = model_first_parameter(r->model, r->first_layer + i);
		uint64_t area = (uint64_t)l->output.height * l->output.width;
		memset(y, 0, count * sizeof(*y));
		switch (l->kind) {
		case LAYER_CONVOLUTION:
		case LAYER_LINEAR:
			for (uint64_t e = 0; e < count; e++)
				y[e] = r->parameters[p + 1][e / area % l->out_channels];
			if (l->kind == LAYER_LINEAR)
				linear_forward(l, r->n, x, r->parameters[p], y);
			else
				convolve(l, r->n, &(struct convolution){.x = x, .w = r->parameters[p], .y = y});
			break;
		case LAYER_RELU:
			for (uint64_t e = 0; e < count; e++)
				y[e] = x[e] <= 0 ? 0 : x[e];
			break;
		case LAYER_MAX_POOL:
		case LAYER_ADAPTIVE_AVERAGE_POOL:
			pool(l, r->n, x, y, NULL, NULL);
			break;
		case LAYER_FLATTEN:
		case LAYER_DROPOUT:
			memcpy(y, x, count * sizeof(*y));
			break;
		}
	}
}

void reference_backward(struct reference *r)
{
	for (uint32_t i = r->end_layer - r->first_layer; i-- > 0;) {
		const struct layer *l = &r->model->layers[r->first_layer + i];
		const double *x = r->values[i], *dy = r->gradients[i + 1];
		double *dx = r->gradients[i];
		uint64_t count = reference_values_count(r, i), out_count = reference_values_count(r, i + 1);
		uint32_t p = model_first_parameter(r->model, r->first_layer + i);
		uint64_t area = (uint64_t)l->output.height * l->output.width;
		struct convolution c = {
			.x = x, .w = r->parameters[p], .dy = dy, .dx = dx, .dw = r->parameter_gradients[p]};
		memset(dx, 0, count * sizeof(*dx));
		switch (l->kind) {
		case LAYER_CONVOLUTION:
		case LAYER_LINEAR:
			for (uint64_t e = 0; e < out_count; e++)
				r->parameter_gradients[p + 1][e / area % l->out_channels] += dy[e];
			if (l->kind == LAYER_LINEAR)
				linear_backward(l, r->n, &c);
			else
				convolve(l, r->n, &c);
			break;
		case LAYER_RELU:
			for (uint64_t e = 0; e < count; e++)
				dx[e] = x[e] <= 0 ? 0 : dy[e];
			break;
		case LAYER_MAX_POOL:
		case LAYER_ADAPTIVE_AVERAGE_POOL:
			pool(l, r->n, x, NULL, dy, dx);
			break;
		case LAYER_FLATTEN:
		case LAYER_DROPOUT:
			memcpy(dx, dy, count * sizeof(*dx));
			break;
		}
	}
}

double reference_loss(struct reference *r, const uint8_t *labels, uint64_t samples, uint32_t *ret_correct)
{
	uint32_t last = r->end_layer - r->first_layer, classes = r->model->layers[r->end_layer - 1].output.channels;
	double loss = 0;
	*ret_correct = 0;
	for (uint32_t i = 0; i < r->n; i++) {
		const double *x = r->values[last] + (uint64_t)i * classes;
		double *dx = r->gradients[last] + (uint64_t)i * classes;
		uint32_t largest = 0;
		double sum = 0;
		for (uint32_t c = 1; c < classes; c++)
			largest = x[c] > x[largest] ? c : largest;
		for (uint32_t c = 0; c < classes; c++)
			sum += exp(x[c] - x[largest]);
		for (uint32_t c = 0; c < classes; c++)
			dx[c] = (exp(x[c] - x[largest]) / sum - (c == labels[i])) / (double)samples;
		loss += log(sum) + x[largest] - x[labels[i]];
		*ret_correct += largest == labels[i];
	}
	return loss / r->n;
}

// Source coordinate of output `i`: its floor, clamped at 0, and the weight of the next pixel.
static void bilinear_source(uint32_t i, uint32_t raw, uint32_t size, uint32_t *ret_low, uint32_t *ret_high,
			    double *ret_weight)
{
	double source = (i + 0.5) * raw / size - 0.5;
	source = source < 0 ? 0 : source;
	*ret_low = (uint32_t)source;
	*ret_high = *ret_low + 1 < raw ? *ret_low + 1 : *ret_low;
	*ret_weight = source - *ret_low;
}

void reference_images(const uint8_t *images, uint32_t n, uint32_t raw, uint32_t size, const float mean[3],
		      const float deviation[3], double *ret_values)
{
	for (uint64_t plane = 0; plane < (uint64_t)n * 3; plane++)
		for (uint32_t h = 0; h < size; h++)
			for (uint32_t w = 0; w < size; w++) {
				const uint8_t *pixels = images + plane * raw * raw;
				uint32_t h0, h1, w0, w1;
				double down, right;
				bilinear_source(h, raw, size, &h0, &h1, &down);
				bilinear_source(w, raw, size, &w0, &w1, &right);
				double top = pixels[h0 * raw + w0] * (1 - right) + pixels[h0 * raw + w1] * right;
				double bottom = pixels[h1 * raw + w0] * (1 - right) + pixels[h1 * raw + w1] * right;
				double value = (top * (1 - down) + bottom * down) / 255;
				ret_values[(plane * size + h) * size + w] =
					(value - mean[plane % 3]) / deviation[plane % 3];
			}
}

// DeepSpeed's csrc/lamb/fused_lamb_cuda_kernel.cu, in double.
static void lamb(const struct optimizer *o, const struct optimizer_step *step, uint64_t count, const double *gradient,
		 double *parameter, double *first, double *second)
{
	double steps = (double)step->step + 1, step_size = step->learning_rate, values = 0, updates = 0,
	       coefficient = 1;
	double *update = calloc(count, sizeof(*update));
	if (!o->no_bias_correction)
		step_size *= sqrt(1 - pow(step->beta2, steps)) / (1 - pow(step->beta1, steps));
	for (uint64_t i = 0; update != NULL && i < count; i++) {
		double g = gradient[i] * step->gradient_scale;
		first[i] = step->beta1 * first[i] + (1 - (double)step->beta1) * g;
		second[i] = step->beta2 * second[i] + (1 - (double)step->beta2) * g * g;
		double root = o->epsilon_inside_root ? sqrt(second[i] + o->epsilon) : sqrt(second[i]) + o->epsilon;
		update[i] = first[i] / root + (double)o->weight_decay * parameter[i];
		values += parameter[i] * parameter[i];
		updates += update[i] * update[i];
	}
	if (values != 0 && updates != 0)
		coefficient = fmax(o->minimum_coefficient, fmin(o->maximum_coefficient, sqrt(values) / sqrt(updates)));
	for (uint64_t i = 0; update != NULL && i < count; i++)
		parameter[i] -= step_size * coefficient * update[i];
	free(update);
}

void reference_optimizer(const struct optimizer *o, const struct optimizer_step *step, uint64_t count,
			 const double *gradient, double *parameter, double *state)
{
	double *first = state, *second = state + count;
	double correction1 = 1 - pow(step->beta1, (double)step->step + 1);
	double correction2 = 1 - pow(step->beta2, (double)step->step + 1);
	if (o->kind == OPTIMIZER_LAMB)
		lamb(o, step, count, gradient, parameter, first, second);
	for (uint64_t i = 0; i < count && o->kind != OPTIMIZER_LAMB; i++) {
		double g = gradient[i] * step->gradient_scale;
		if (o->kind == OPTIMIZER_ADAMW || o->kind == OPTIMIZER_LION)
			parameter[i] *= 1 - (double)step->learning_rate * o->weight_decay;
		else
			g += (double)o->weight_decay * parameter[i];
		if (o->kind == OPTIMIZER_SGD) {
			if (step->beta1 != 0) {
				first[i] = step->step == 0 ? g : step->beta1 * first[i] + (1 - o->dampening) * g;
				g = o->nesterov ? g + step->beta1 * first[i] : first[i];
			}
			parameter[i] -= step->learning_rate * g;
			continue;
		}
		if (o->kind == OPTIMIZER_LION) {
			double c = step->beta1 * first[i] + (1 - (double)step->beta1) * g;
			parameter[i] -= step->learning_rate * ((c > 0) - (c < 0));
			first[i] = step->beta2 * first[i] + (1 - (double)step->beta2) * g;
			continue;
		}
		if (o->kind == OPTIMIZER_ADAGRAD) {
			first[i] += g * g;
			parameter[i] -= step->learning_rate * g / (sqrt(first[i]) + o->epsilon);
			continue;
		}
		first[i] = step->beta1 * first[i] + (1 - (double)step->beta1) * g;
		second[i] = step->beta2 * second[i] + (1 - (double)step->beta2) * g * g;
		parameter[i] -=
			step->learning_rate / correction1 * first[i] / (sqrt(second[i] / correction2) + o->epsilon);
	}
}
