// SGD, Adam and AdamW as PyTorch defines them (torch.optim, single-tensor arithmetic); Lamb, Lion and Adagrad as DeepSpeed does
// (docs/deepspeed_config.md). Each is one pass over a parameter, its gradient and its state: the pass is bound by memory, so
// nothing is read twice. Lamb needs the norms of a whole tensor, and makes a second pass. Padding of blocked layouts is zero
// in value, gradient and state, and stays so.
#include <float.h>
#include <math.h>
#include <omp.h>

#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"
#include "stage_server/device/program_spec.h"

struct update {
	float *value, *first, *second; // the state, as far as there is any
	const float *gradient;         // NULL: zero
	float gradient_scale, weight_decay, learning_rate;
	// SGD
	float momentum, undamped;
	bool nesterov;
	// Those with betas
	float beta1, beta2, one_minus_beta1, one_minus_beta2, step_size, root_correction2, epsilon;
	bool decay_is_decoupled;
	// Lamb
	float outer_epsilon, inner_epsilon; // outside and inside of the root; one of them is 0
	float rate;                         // of the second pass
	double *sums;                       // of each chunk: the squares of values, and of updates
};

static inline __attribute__((always_inline)) float gradient_of(const struct update *u, const float *gradient,
							       uint64_t i, float value)
{
	return gradient[i] * u->gradient_scale + u->weight_decay * value;
}

VECTOR_CLONES static void sgd_plain(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	float *restrict value = u.value;
	const float *restrict gradient = u.gradient;
	for (uint64_t i = begin; i < end; i++)
		value[i] -= u.learning_rate * gradient_of(&u, gradient, i, value[i]);
}

// The first step sets the momentum buffer to the gradient, undamped.
VECTOR_CLONES static void sgd_first(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	float *restrict value = u.value, *restrict buffer = u.first;
	const float *restrict gradient = u.gradient;
	float more = u.nesterov ? u.momentum : 0.0f;
	for (uint64_t i = begin; i < end; i++) {
		float g = gradient_of(&u, gradient, i, value[i]);
		buffer[i] = g;
		value[i] -= u.learning_rate * (g + more * g);
	}
}

VECTOR_CLONES static void sgd_momentum(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	float *restrict value = u.value, *restrict buffer = u.first;
	const float *restrict gradient = u.gradient;
	for (uint64_t i = begin; i < end; i++) {
		float g = gradient_of(&u, gradient, i, value[i]);
		float b = u.momentum * buffer[i] + u.undamped * g;
		buffer[i] = b;
		value[i] -= u.learning_rate * (u.nesterov ? g + u.momentum * b : b);
	}
}

VECTOR_CLONES static void adam(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	float *restrict value = u.value, *restrict first = u.first, *restrict second = u.second;
	const float *restrict gradient = u.gradient;
	float keep = u.decay_is_decoupled ? 1.0f - u.learning_rate * u.weight_decay : 1.0f;
	float decay = u.decay_is_decoupled ? 0.0f : u.weight_decay;
	for (uint64_t i = begin; i < end; i++) {
		float g = gradient[i] * u.gradient_scale + decay * value[i];
		float m = first[i] + u.one_minus_beta1 * (g - first[i]);
		float v = u.beta2 * second[i] + u.one_minus_beta2 * g * g;
		first[i] = m;
		second[i] = v;
		value[i] = keep * value[i] - u.step_size * m / (sqrtf(v) / u.root_correction2 + u.epsilon);
	}
}

// 1, 0 or -1; NaN stays NaN.
static inline __attribute__((always_inline)) float sign_of(float value)
{
	return value > 0.0f ? 1.0f : value < 0.0f ? -1.0f : value;
}

VECTOR_CLONES static void lion(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	float *restrict value = u.value, *restrict first = u.first;
	const float *restrict gradient = u.gradient;
	float keep = 1.0f - u.learning_rate * u.weight_decay;
	for (uint64_t i = begin; i < end; i++) {
		float g = gradient[i] * u.gradient_scale;
		float direction = sign_of(u.beta1 * first[i] + u.one_minus_beta1 * g);
		value[i] = keep * value[i] - u.learning_rate * direction;
		first[i] = u.beta2 * first[i] + u.one_minus_beta2 * g;
	}
}

VECTOR_CLONES static void adagrad(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	float *restrict value = u.value, *restrict sum = u.first;
	const float *restrict gradient = u.gradient;
	for (uint64_t i = begin; i < end; i++) {
		float g = gradient_of(&u, gradient, i, value[i]);
		float s = sum[i] + g * g;
		sum[i] = s;
		value[i] -= u.learning_rate * (g / (sqrtf(s) + u.epsilon));
	}
}

static inline __attribute__((always_inline)) float lamb_update(const struct update *u, float first, float second,
							       float value)
{
	return first / (sqrtf(second + u->inner_epsilon) + u->outer_epsilon) + u->weight_decay * value;
}

enum { SUM_LANES = 16 };

// The moments, and the squares that the norms are made of: by lanes of a fixed number within a chunk.
VECTOR_CLONES static void lamb_moments(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	const float *restrict value = u.value, *restrict gradient = u.gradient;
	float *restrict first = u.first, *restrict second = u.second;
	double values[SUM_LANES] = {0.0}, updates[SUM_LANES] = {0.0};
	for (uint64_t i = begin; i < end; i += SUM_LANES) {
		uint64_t count = end - i < SUM_LANES ? end - i : SUM_LANES;
		for (uint64_t lane = 0; lane < count; lane++) {
			uint64_t e = i + lane;
			float g = gradient[e] * u.gradient_scale;
			float m = u.beta1 * first[e] + u.one_minus_beta1 * g;
			float v = u.beta2 * second[e] + u.one_minus_beta2 * g * g;
			float change = lamb_update(&u, m, v, value[e]);
			first[e] = m;
			second[e] = v;
			values[lane] += (double)value[e] * (double)value[e];
			updates[lane] += (double)change * (double)change;
		}
	}
	double sums[2] = {0.0};
	for (int lane = 0; lane < SUM_LANES; lane++) {
		sums[0] += values[lane];
		sums[1] += updates[lane];
	}
	u.sums[2 * (begin / VECTOR_CHUNK)] = sums[0];
	u.sums[2 * (begin / VECTOR_CHUNK) + 1] = sums[1];
}

VECTOR_CLONES static void lamb_apply(void *context, uint64_t begin, uint64_t end)
{
	const struct update u = *(const struct update *)context;
	float *restrict value = u.value;
	const float *restrict first = u.first, *restrict second = u.second;
	for (uint64_t i = begin; i < end; i++)
		value[i] -= u.rate * lamb_update(&u, first[i], second[i], value[i]);
}

// The chunks' sums are added in their order. So the norms depend on the tensor's layout, which follows from the layer's shape
// alone, and not on where the model is cut, nor on the number of threads.
static void lamb(const struct optimizer *optimizer, uint32_t threads, uint64_t floats, struct update *update)
{
	double squares[2] = {0.0};
	vector_for(threads, floats, VECTOR_CHUNK, lamb_moments, update);
	for (uint64_t chunk = 0; chunk * VECTOR_CHUNK < floats; chunk++)
		for (int i = 0; i < 2; i++)
			squares[i] += update->sums[2 * chunk + i];
	double coefficient = 1.0;
	if (squares[0] != 0.0 && squares[1] != 0.0) {
		coefficient = sqrt(squares[0]) / sqrt(squares[1]);
		if (coefficient > optimizer->maximum_coefficient)
			coefficient = optimizer->maximum_coefficient;
		if (coefficient < optimizer->minimum_coefficient)
			coefficient = optimizer->minimum_coefficient;
	}
	update->rate = (float)(update->step_size * coefficient);
	vector_for(threads, floats, VECTOR_CHUNK, lamb_apply, update);
}

static float lamb_step_size(const struct optimizer *optimizer, const struct optimizer_step *step)
{
	double count = (double)step->step + 1.0;
	if (optimizer->no_bias_correction)
		return step->learning_rate;
	return (float)(step->learning_rate * sqrt(1.0 - pow(step->beta2, count)) / (1.0 - pow(step->beta1, count)));
}

static struct update update_of(const struct optimizer *optimizer, const struct optimizer_step *step)
{
	struct update update = {
		.gradient_scale = step->gradient_scale,
		.weight_decay = optimizer->weight_decay,
		.learning_rate = step->learning_rate,
		.momentum = step->beta1,
		.undamped = 1.0f - optimizer->dampening,
		.nesterov = optimizer->nesterov,
		.beta1 = step->beta1,
		.beta2 = step->beta2,
		.one_minus_beta1 = (float)(1.0 - (double)step->beta1),
		.one_minus_beta2 = (float)(1.0 - (double)step->beta2),
		// Without it 0 / 0 would make padding a NaN; below any root that matters.
		.epsilon = optimizer->epsilon > 0.0f ? optimizer->epsilon : FLT_MIN,
		.decay_is_decoupled = optimizer->kind == OPTIMIZER_ADAMW,
	};
	double count = (double)step->step + 1.0;
	update.step_size = (float)(step->learning_rate / (1.0 - pow(step->beta1, count)));
	update.root_correction2 = (float)sqrt(1.0 - pow(step->beta2, count));
	if (optimizer->kind == OPTIMIZER_LAMB) {
		update.step_size = lamb_step_size(optimizer, step);
		*(optimizer->epsilon_inside_root ? &update.inner_epsilon : &update.outer_epsilon) = update.epsilon;
	}
	return update;
}

// The gradient in the layout of the value.
static const float *aligned_gradient(struct program *program, struct parameter_state *parameter)
{
	const float *gradient = parameter_gradient_values(program, parameter);
	struct kernel *align = parameter_form(parameter)->align;
	if (align == NULL)
		return gradient;
	float *aligned = program_pointer(program, &program->weight_temporary, 0);
	return program_convert(program, align, gradient, aligned, 0) ? aligned : NULL;
}

static void update_parameter(const struct program *program, struct parameter_state *parameter, struct update *update)
{
	static void (*const passes[OPTIMIZER_COUNT])(void *context, uint64_t begin, uint64_t end) = {
		[OPTIMIZER_ADAM] = adam,
		[OPTIMIZER_ADAMW] = adam,
		[OPTIMIZER_LION] = lion,
		[OPTIMIZER_ADAGRAD] = adagrad,
	};
	uint32_t threads = program->device->threads;
	switch (program->optimizer.kind) {
	case OPTIMIZER_LAMB:
		lamb(&program->optimizer, threads, parameter->floats, update);
		break;
	case OPTIMIZER_SGD:
		if (update->momentum == 0.0f) {
			vector_for(threads, parameter->floats, VECTOR_CHUNK, sgd_plain, update);
			break;
		}
		vector_for(threads, parameter->floats, VECTOR_CHUNK,
			   parameter->momentum_is_unset ? sgd_first : sgd_momentum, update);
		parameter->momentum_is_unset = false;
		break;
	default:
		vector_for(threads, parameter->floats, VECTOR_CHUNK, passes[program->optimizer.kind], update);
	}
}

static float *state_of(const struct program *program, const struct parameter_state *parameter, uint32_t s)
{
	return s < optimizer_state_tensors(&program->optimizer) ? program_pointer(program, &parameter->state[s], 0)
								: NULL;
}

bool cpu_optimizer_step(struct program *program, const struct optimizer_step *step, struct error *error)
{
	if (!program->training)
		return error_set(error, ERROR_FAILED, "optimizer_step: the program is not for training");
	if (!program_spec_check_step(&program->optimizer, step, error))
		return false;
	omp_set_num_threads((int)program->device->threads);
	struct update update = update_of(&program->optimizer, step);
	update.sums = program_pointer(program, &program->squares, 0);
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		update.value = program_pointer(program, &parameter->value, 0);
		update.first = state_of(program, parameter, 0);
		update.second = state_of(program, parameter, 1);
		update.gradient = aligned_gradient(program, parameter);
		if (update.gradient == NULL)
			return error_set(error, ERROR_FAILED, "optimizer_step of %s failed in oneDNN",
					 parameter->description.name);
		update_parameter(program, parameter, &update);
	}
	for (uint32_t i = 0; i < program->layer_count; i++)
		program->layers[i].weights_copy_is_current = false;
	return true;
}
