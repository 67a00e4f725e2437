// See compare.h.
#include "coordinator/prove/compare.h"

#include <math.h>
#include <string.h>

static uint32_t float_bits(float value)
{
	uint32_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static uint64_t double_bits(double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

bool compare_same_bits(float a, float b)
{
	return float_bits(a) == float_bits(b);
}

// ---- Units in the last place: the bits of numbers of one sign count up with their size

static uint64_t distance(bool one_sign, uint64_t a, uint64_t b)
{
	if (!one_sign)
		return a + b; // through zero
	return a > b ? a - b : b - a;
}

uint64_t compare_ulp_float(float a, float b)
{
	if (isnan(a) || isnan(b))
		return UINT64_MAX;
	return distance(signbit(a) == signbit(b), float_bits(fabsf(a)), float_bits(fabsf(b)));
}

uint64_t compare_ulp_double(double a, double b)
{
	if (isnan(a) || isnan(b))
		return UINT64_MAX;
	return distance(signbit(a) == signbit(b), double_bits(fabs(a)), double_bits(fabs(b)));
}

// ---- Steps

static void note(struct comparison *comparison, const struct difference *difference)
{
	if (comparison->first.kind == DIFFERENCE_NONE)
		comparison->first = *difference;
	if (difference->kind == DIFFERENCE_PARAMETER && comparison->first_value.kind == DIFFERENCE_NONE)
		comparison->first_value = *difference;
}

static void note_divergence(struct comparison *comparison, uint64_t step)
{
	if (comparison->diverged)
		return;
	comparison->diverged = true;
	comparison->diverged_step = step;
}

// True where their bits differ, which is noted. `difference` has the kind and the place.
static bool compare_double(struct comparison *comparison, struct difference difference, double reference, double got)
{
	if (double_bits(reference) == double_bits(got))
		return false;
	difference.reference = reference;
	difference.got = got;
	difference.reference_bits = double_bits(reference);
	difference.got_bits = double_bits(got);
	difference.ulp = compare_ulp_double(reference, got);
	note(comparison, &difference);
	return true;
}

// With float16 gradients may overflow, and the step is skipped for it.
static bool diverges(const struct capture_step *step)
{
	return !isfinite(step->loss) || (!step->skipped && !isfinite(step->gradient_norm));
}

static void compare_step(struct comparison *comparison, const struct capture *reference, const struct capture *got,
			 uint64_t step)
{
	const struct capture_step *a = &reference->steps[step], *b = &got->steps[step];
	struct difference at = {.kind = DIFFERENCE_LOSS, .step = step};
	if (diverges(a) || diverges(b))
		note_divergence(comparison, step);
	comparison->losses_differ += compare_double(comparison, at, a->loss, b->loss);
	at.kind = DIFFERENCE_CORRECT;
	compare_double(comparison, at, a->correct, b->correct);
	for (uint32_t i = reference->parameter_count; i-- > 0;) {
		uint64_t place = step * reference->parameter_count + i;
		struct difference of = {.kind = DIFFERENCE_GRADIENT, .step = step, .parameter = i};
		comparison->gradients_differ +=
			compare_double(comparison, of, reference->squares[place], got->squares[place]);
	}
	at.kind = DIFFERENCE_GRADIENT_NORM;
	comparison->norms_differ += compare_double(comparison, at, a->gradient_norm, b->gradient_norm);
	at.kind = DIFFERENCE_SKIPPED;
	compare_double(comparison, at, a->skipped, b->skipped);
}

// ---- Final parameters

static bool compare_parameter(struct comparison *comparison, const struct capture *reference, const struct capture *got,
			      uint32_t index)
{
	struct parameter parameter;
	model_parameter(&reference->model, index, &parameter);
	const float *a = reference->values[index], *b = got->values[index];
	uint64_t before = comparison->elements_differ;
	comparison->elements += parameter.count;
	for (uint64_t i = 0; i < parameter.count; i++) {
		if (!isfinite(a[i]) || !isfinite(b[i]))
			note_divergence(comparison, comparison->steps);
		if (float_bits(a[i]) == float_bits(b[i]))
			continue;
		comparison->elements_differ++;
		note(comparison, &(struct difference){.kind = DIFFERENCE_PARAMETER,
						      .parameter = index,
						      .element = i,
						      .reference = (double)a[i],
						      .got = (double)b[i],
						      .reference_bits = float_bits(a[i]),
						      .got_bits = float_bits(b[i]),
						      .ulp = compare_ulp_float(a[i], b[i])});
	}
	return comparison->elements_differ > before;
}

void compare_captures(const struct capture *reference, const struct capture *got, struct comparison *ret_comparison)
{
	struct comparison comparison = {.steps = reference->steps_done, .parameters = reference->parameter_count};
	comparison.gradients = comparison.steps * comparison.parameters;
	for (uint64_t s = 0; s < comparison.steps; s++)
		compare_step(&comparison, reference, got, s);
	for (uint32_t i = 0; i < comparison.parameters; i++)
		comparison.parameters_differ += compare_parameter(&comparison, reference, got, i);
	*ret_comparison = comparison;
}
