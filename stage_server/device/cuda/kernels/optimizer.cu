// SGD, Adam and AdamW as PyTorch defines them (torch.optim, single-tensor arithmetic), Lion, Adagrad and Lamb as DeepSpeed does, operation for operation as
// stage_server/device/cpu/optimizer.c: with -fmad=false (see device.cuh), and division and square root that round correctly (nvcc's
// default), both devices step the same gradients to the same bits. One pass: it is bound by memory, so nothing is read twice.
#include <float.h>
#include <math.h>

#include "stage_server/device/cuda/kernels/device.cuh"

struct settings {
	float gradient_scale, weight_decay, learning_rate;
	// SGD
	float momentum, undamped;
	bool nesterov;
	// Those with betas
	float beta1, beta2, one_minus_beta1, one_minus_beta2, step_size, root_correction2, epsilon;
	float keep, decay; // what decoupled weight decay leaves of a value; what goes into the gradient
};

// A rule updates one value. Of the two floats of state it reads the first READ and writes the first WRITTEN.
struct sgd_plain {
	enum { READ = 0, WRITTEN = 0 };
	static __device__ void apply(const struct settings &s, float gradient, float &value, float &, float &)
	{
		value -= s.learning_rate * (gradient * s.gradient_scale + s.weight_decay * value);
	}
};

// The first step sets the momentum buffer to the gradient, undamped.
struct sgd_first {
	enum { READ = 0, WRITTEN = 1 };
	static __device__ void apply(const struct settings &s, float gradient, float &value, float &buffer, float &)
	{
		float g = gradient * s.gradient_scale + s.weight_decay * value;
		buffer = g;
		value -= s.learning_rate * (g + (s.nesterov ? s.momentum : 0.0f) * g);
	}
};

struct sgd_momentum {
	enum { READ = 1, WRITTEN = 1 };
	static __device__ void apply(const struct settings &s, float gradient, float &value, float &buffer, float &)
	{
		float g = gradient * s.gradient_scale + s.weight_decay * value;
		buffer = s.momentum * buffer + s.undamped * g;
		value -= s.learning_rate * (s.nesterov ? g + s.momentum * buffer : buffer);
	}
};

struct adam {
	enum { READ = 2, WRITTEN = 2 };
	static __device__ void apply(const struct settings &s, float gradient, float &value, float &first,
				     float &second)
	{
		float g = gradient * s.gradient_scale + s.decay * value;
		first = first + s.one_minus_beta1 * (g - first);
		second = s.beta2 * second + s.one_minus_beta2 * g * g;
		value = s.keep * value - s.step_size * first / (sqrtf(second) / s.root_correction2 + s.epsilon);
	}
};

// 1, 0 or -1; NaN stays NaN.
static inline __device__ float sign_of(float value)
{
	return value > 0.0f ? 1.0f : value < 0.0f ? -1.0f : value;
}

struct lion {
	enum { READ = 1, WRITTEN = 1 };
	static __device__ void apply(const struct settings &s, float gradient, float &value, float &first, float &)
	{
		float g = gradient * s.gradient_scale;
		float direction = sign_of(s.beta1 * first + s.one_minus_beta1 * g);
		value = s.keep * value - s.learning_rate * direction;
		first = s.beta2 * first + s.one_minus_beta2 * g;
	}
};

struct adagrad {
	enum { READ = 1, WRITTEN = 1 };
	static __device__ void apply(const struct settings &s, float gradient, float &value, float &sum, float &)
	{
		float g = gradient * s.gradient_scale + s.weight_decay * value;
		sum = sum + g * g;
		value -= s.learning_rate * (g / (sqrtf(sum) + s.epsilon));
	}
};

// What a step reads and writes.
template <typename T> struct tensors {
	float *values;
	const float *gradients;
	float *state_0, *state_1;
	T *copy; // NULL: none
};

template <typename Rule, typename T, int LANES>
static inline __device__ void update_lanes(const struct settings &s, const struct tensors<T> &t, uint64_t at)
{
	float values[LANES], gradients[LANES], first[LANES], second[LANES];
	load<float, LANES>(t.values + at, values);
	load<float, LANES>(t.gradients + at, gradients);
	if constexpr (Rule::READ >= 1)
		load<float, LANES>(t.state_0 + at, first);
	if constexpr (Rule::READ >= 2)
		load<float, LANES>(t.state_1 + at, second);
	for (int i = 0; i < LANES; i++)
		Rule::apply(s, gradients[i], values[i], first[i], second[i]);
	store<float, LANES>(t.values + at, values);
	if constexpr (Rule::WRITTEN >= 1)
		store<float, LANES>(t.state_0 + at, first);
	if constexpr (Rule::WRITTEN >= 2)
		store<float, LANES>(t.state_1 + at, second);
	if (t.copy != NULL)
		store<T, LANES>(t.copy + at, values);
}

template <typename Rule, typename T, int LANES>
static __global__ void update(struct settings s, uint64_t count, struct tensors<T> t)
{
	uint64_t packs = count / LANES;
	for (uint64_t i = flat_begin(); i < packs; i += flat_step())
		update_lanes<Rule, T, LANES>(s, t, i * LANES);
	if (flat_begin() < count % LANES)
		update_lanes<Rule, T, 1>(s, t, packs * LANES + flat_begin());
}

static struct settings settings_of(const struct optimizer *optimizer, const struct optimizer_step *step)
{
	bool decoupled = optimizer->kind == OPTIMIZER_ADAMW || optimizer->kind == OPTIMIZER_LION;
	double count = (double)step->step + 1.0;
	struct settings s = {};
	s.gradient_scale = step->gradient_scale;
	s.weight_decay = optimizer->weight_decay;
	s.learning_rate = step->learning_rate;
	s.momentum = step->beta1;
	s.undamped = 1.0f - optimizer->dampening;
	s.nesterov = optimizer->nesterov;
	s.beta1 = step->beta1;
	s.beta2 = step->beta2;
	s.one_minus_beta1 = (float)(1.0 - (double)step->beta1);
	s.one_minus_beta2 = (float)(1.0 - (double)step->beta2);
	s.step_size = (float)(step->learning_rate / (1.0 - pow(step->beta1, count)));
	s.root_correction2 = (float)sqrt(1.0 - pow(step->beta2, count));
	// Without it 0 / 0 would make padding a NaN; below any root that matters.
	s.epsilon = optimizer->epsilon > 0.0f ? optimizer->epsilon : FLT_MIN;
	s.keep = decoupled ? 1.0f - step->learning_rate * optimizer->weight_decay : 1.0f;
	s.decay = decoupled ? 0.0f : optimizer->weight_decay;
	return s;
}

template <typename Rule, typename T>
static void issue_update(cudaStream_t stream, const struct settings &settings, uint64_t count,
			 const struct tensors<T> &t)
{
	// NULL is aligned to anything.
	for_lanes(are_packable(t.values, t.gradients, t.state_0, t.state_1, t.copy), [&](auto lanes) {
		auto kernel = update<Rule, T, decltype(lanes)::value>;
		KERNEL_LAUNCH(kernel, shape_flat(count / decltype(lanes)::value), stream, settings, count, t);
	});
}

cudaError_t kernel_optimizer_step(cudaStream_t stream, const struct optimizer *optimizer,
				  const struct optimizer_step *step, bool first, uint64_t count, float *values,
				  const float *gradients, float *state_0, float *state_1, enum data_type copy_type,
				  void *copy)
{
	struct settings s = settings_of(optimizer, step);
	return for_type(copy != NULL ? copy_type : DATA_FLOAT32, [&](auto element) {
		using T = decltype(element);
		struct tensors<T> t = {
			values, gradients, state_0, state_1, static_cast<T *>(copy)
		};
		if (optimizer->kind == OPTIMIZER_LION)
			issue_update<lion>(stream, s, count, t);
		else if (optimizer->kind == OPTIMIZER_ADAGRAD)
			issue_update<adagrad>(stream, s, count, t);
		else if (optimizer->kind != OPTIMIZER_SGD)
			issue_update<adam>(stream, s, count, t);
		else if (s.momentum == 0.0f)
			issue_update<sgd_plain>(stream, s, count, t);
		else if (first)
			issue_update<sgd_first>(stream, s, count, t);
		else
			issue_update<sgd_momentum>(stream, s, count, t);
	});
}

// ---- squares. Every float on its own, not in packs: where a parameter lies among others must not change the order of its sum.

enum { SQUARES_BLOCKS = 1024, SQUARES_THREAD_FLOATS = 8, SHARES = 16 };

static unsigned squares_blocks(uint64_t count)
{
	return (unsigned)blocks_for(count, BLOCK_THREADS * SQUARES_THREAD_FLOATS, SQUARES_BLOCKS);
}

// The sum of `share` over the block, for its first thread; every thread calls it.
static inline __device__ double block_sum(double share)
{
	__shared__ double shares[BLOCK_THREADS];
	shares[threadIdx.x] = share;
	__syncthreads();
	double sum = 0.0;
	if (threadIdx.x < SHARES)
		for (int i = threadIdx.x; i < BLOCK_THREADS; i += SHARES)
			sum += shares[i];
	__syncthreads();
	if (threadIdx.x < SHARES)
		shares[threadIdx.x] = sum;
	__syncthreads();
	for (int i = 1; i < SHARES && threadIdx.x == 0; i++)
		sum += shares[i];
	return sum;
}

static __global__ void sum_squares(uint64_t count, const float *__restrict__ values, double *__restrict__ ret_sums)
{
	double sum = 0.0;
	for (uint64_t i = flat_begin(); i < count; i += flat_step())
		sum += (double)values[i] * (double)values[i];
	sum = block_sum(sum);
	if (threadIdx.x == 0)
		ret_sums[blockIdx.x] = sum;
}

static __global__ void sum_sums(unsigned count, const double *__restrict__ sums, double *__restrict__ ret_sum)
{
	double sum = 0.0;
	for (unsigned i = threadIdx.x; i < count; i += BLOCK_THREADS)
		sum += sums[i];
	sum = block_sum(sum);
	if (threadIdx.x == 0)
		*ret_sum = sum;
}

uint64_t kernel_squares_scratch(uint64_t count)
{
	return squares_blocks(count) * sizeof(double);
}

cudaError_t kernel_squares(cudaStream_t stream, uint64_t count, const float *values, double *ret_sum, void *scratch)
{
	unsigned blocks = squares_blocks(count);
	double *sums = static_cast<double *>(scratch);
	struct launch_shape many = {dim3(blocks), dim3(BLOCK_THREADS)}, one = {dim3(1), dim3(BLOCK_THREADS)};
	KERNEL_LAUNCH_BARRIERS(sum_squares, many, stream, count, values, sums);
	KERNEL_LAUNCH_BARRIERS(sum_sums, one, stream, blocks, sums, ret_sum);
	return cudaGetLastError();
}

// ---- Lamb: a tensor at a time, whose norms are summed as squares are

struct lamb_settings {
	float outer_epsilon, inner_epsilon; // outside and inside of the root; one of them is 0
	float minimum_coefficient, maximum_coefficient;
};

static inline __device__ float lamb_update(const struct settings &s, const struct lamb_settings &l, float first,
					   float second, float value)
{
	return first / (sqrtf(second + l.inner_epsilon) + l.outer_epsilon) + s.weight_decay * value;
}

static __global__ void lamb_moments(struct settings s, struct lamb_settings l, uint64_t count,
				    const float *__restrict__ values, const float *__restrict__ gradients,
				    float *__restrict__ first, float *__restrict__ second,
				    double *__restrict__ value_sums, double *__restrict__ update_sums)
{
	double value_sum = 0.0, update_sum = 0.0;
	for (uint64_t i = flat_begin(); i < count; i += flat_step()) {
		float g = gradients[i] * s.gradient_scale;
		float m = s.beta1 * first[i] + s.one_minus_beta1 * g;
		float v = s.beta2 * second[i] + s.one_minus_beta2 * g * g;
		float change = lamb_update(s, l, m, v, values[i]);
		first[i] = m;
		second[i] = v;
		value_sum += (double)values[i] * (double)values[i];
		update_sum += (double)change * (double)change;
	}
	value_sum = block_sum(value_sum);
	__syncthreads();
	update_sum = block_sum(update_sum);
	if (threadIdx.x == 0) {
		value_sums[blockIdx.x] = value_sum;
		update_sums[blockIdx.x] = update_sum;
	}
}

template <typename T>
static __global__ void lamb_apply(struct settings s, struct lamb_settings l, uint64_t count,
				  const double *__restrict__ squares, const float *__restrict__ first,
				  const float *__restrict__ second, float *__restrict__ values, T *__restrict__ copy)
{
	double coefficient = 1.0;
	if (squares[0] != 0.0 && squares[1] != 0.0) {
		coefficient = sqrt(squares[0]) / sqrt(squares[1]);
		if (coefficient > l.maximum_coefficient)
			coefficient = l.maximum_coefficient;
		if (coefficient < l.minimum_coefficient)
			coefficient = l.minimum_coefficient;
	}
	float rate = (float)(s.step_size * coefficient);
	for (uint64_t i = flat_begin(); i < count; i += flat_step()) {
		float value[1] = {values[i] - rate * lamb_update(s, l, first[i], second[i], values[i])};
		values[i] = value[0];
		if (copy != NULL)
			store<T, 1>(copy + i, value);
	}
}

uint64_t kernel_lamb_scratch(uint64_t count)
{
	return (2 * squares_blocks(count) + 2) * sizeof(double);
}

cudaError_t kernel_lamb_step(cudaStream_t stream, const struct optimizer *optimizer, const struct optimizer_step *step,
			     uint64_t count, float *values, const float *gradients, float *state_0, float *state_1,
			     enum data_type copy_type, void *copy, void *scratch)
{
	struct settings s = settings_of(optimizer, step);
	struct lamb_settings l = {};
	double steps = (double)step->step + 1.0;
	s.step_size = optimizer->no_bias_correction
			      ? step->learning_rate
			      : (float)(step->learning_rate * sqrt(1.0 - pow(step->beta2, steps)) /
					(1.0 - pow(step->beta1, steps)));
	(optimizer->epsilon_inside_root ? l.inner_epsilon : l.outer_epsilon) = s.epsilon;
	l.minimum_coefficient = optimizer->minimum_coefficient;
	l.maximum_coefficient = optimizer->maximum_coefficient;
	unsigned blocks = squares_blocks(count);
	double *squares = static_cast<double *>(scratch), *value_sums = squares + 2, *update_sums = value_sums + blocks;
	struct launch_shape many = {dim3(blocks), dim3(BLOCK_THREADS)}, one = {dim3(1), dim3(BLOCK_THREADS)};
	KERNEL_LAUNCH_BARRIERS(lamb_moments, many, stream, s, l, count, values, gradients, state_0, state_1, value_sums,
			       update_sums);
	KERNEL_LAUNCH_BARRIERS(sum_sums, one, stream, blocks, value_sums, squares);
	KERNEL_LAUNCH_BARRIERS(sum_sums, one, stream, blocks, update_sums, squares + 1);
	return for_type(copy != NULL ? copy_type : DATA_FLOAT32, [&](auto element) {
		using T = decltype(element);
		KERNEL_LAUNCH(lamb_apply<T>, shape_flat(count), stream, s, l, count, squares, state_0, state_1, values,
			      static_cast<T *>(copy));
	});
}
