// SGD, Adam and AdamW as PyTorch defines them (torch.optim, single-tensor arithmetic), each in one pass over a
// parameter, its gradient and its state: the pass is bound by memory, so nothing is read twice. Padding of blocked layouts
// is zero in value, gradient and state, and stays so.
#include <float.h>
#include <math.h>
#include <omp.h>

#include "stage_server/device/cpu/program.h"
#include "stage_server/device/cpu/vector.h"

struct update {
	float *value, *first, *second; // the state, as far as there is any
	const float *gradient;         // NULL: zero
	float gradient_scale, weight_decay, learning_rate;
	// SGD
	float momentum, undamped;
	bool nesterov;
	// Adam, AdamW
	float beta2, one_minus_beta1, one_minus_beta2, step_size, root_correction2, epsilon;
	bool decay_is_decoupled;
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

static struct update update_of(const struct optimizer *optimizer, const struct optimizer_step *step)
{
	struct update update = {
		.gradient_scale = step->gradient_scale,
		.weight_decay = optimizer->weight_decay,
		.learning_rate = step->learning_rate,
		.momentum = step->beta1,
		.undamped = 1.0f - optimizer->dampening,
		.nesterov = optimizer->nesterov,
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

bool cpu_optimizer_step(struct program *program, const struct optimizer_step *step, struct error *error)
{
	if (!program->training)
		return error_set(error, ERROR_FAILED, "optimizer_step: the program is not for training");
	uint32_t threads = program->device->threads;
	omp_set_num_threads((int)threads);
	struct update update = update_of(&program->optimizer, step);
	for (uint32_t i = 0; i < program->parameter_count; i++) {
		struct parameter_state *parameter = &program->parameters[i];
		update.value = program_pointer(program, &parameter->value, 0);
		update.first = program_pointer(program, &parameter->state[0], 0);
		update.second = program_pointer(program, &parameter->state[1], 0);
		update.gradient = aligned_gradient(program, parameter);
		if (update.gradient == NULL)
			return error_set(error, ERROR_FAILED, "optimizer_step of %s failed in oneDNN",
					 parameter->description.name);
		if (program->optimizer.kind != OPTIMIZER_SGD) {
			vector_for(threads, parameter->floats, VECTOR_CHUNK, adam, &update);
		} else if (update.momentum == 0.0f) {
			vector_for(threads, parameter->floats, VECTOR_CHUNK, sgd_plain, &update);
		} else {
			vector_for(threads, parameter->floats, VECTOR_CHUNK,
				   parameter->momentum_is_unset ? sgd_first : sgd_momentum, &update);
			parameter->momentum_is_unset = false;
		}
	}
	for (uint32_t i = 0; i < program->layer_count; i++)
		program->layers[i].weights_copy_is_current = false;
	return true;
}
