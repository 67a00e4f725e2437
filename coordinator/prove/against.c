// See against.h.
#include "coordinator/prove/against.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/prove/compare.h"

// ---- The file's tensors

// Appends ", text", or "..." once there is no more room.
static void append(char *into, size_t size, const char *text)
{
	static const char more[] = ", ...";
	size_t length = strlen(into);
	if (length >= sizeof(more) && strcmp(into + length - (sizeof(more) - 1), more) == 0)
		return;
	if (length + strlen(text) + 2 + sizeof(more) > size)
		text = "...";
	snprintf(into + length, size - length, "%s%s", length > 0 ? ", " : "", text);
}

static char *shape_text(uint32_t rank, const uint64_t *dimensions, char *into, size_t size)
{
	size_t length = (size_t)snprintf(into, size, "(");
	for (uint32_t i = 0; i < rank && length < size; i++)
		length +=
			(size_t)snprintf(into + length, size - length, "%s%" PRIu64, i > 0 ? ", " : "", dimensions[i]);
	if (length < size)
		snprintf(into + length, size - length, ")");
	return into;
}

static bool has_shape(const struct parameter *parameter, const struct safetensors_entry *entry, char *into, size_t size)
{
	uint64_t dimensions[4];
	char ours[100], theirs[200];
	bool same = parameter->rank == entry->rank;
	for (uint32_t i = 0; i < parameter->rank; i++) {
		dimensions[i] = parameter->dimensions[i];
		same = same && dimensions[i] == entry->dimensions[i];
	}
	if (same && entry->type == SAFETENSORS_OTHER) {
		snprintf(into, size, "%s is of type %s", parameter->name, entry->type_name);
		same = false;
	} else if (!same)
		snprintf(into, size, "%s is %s, the model has %s", parameter->name,
			 shape_text(entry->rank, entry->dimensions, theirs, sizeof(theirs)),
			 shape_text(parameter->rank, dimensions, ours, sizeof(ours)));
	return same;
}

static bool is_of_model(const struct model *model, const char *name)
{
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		if (strcmp(parameter.name, name) == 0)
			return true;
	}
	return false;
}

// Another model's file, or one whose tensors have names of their own.
static bool refuse_names(const struct model *model, const char *theirs, struct error *error)
{
	char ours[120] = "";
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		append(ours, sizeof(ours), parameter.name);
	}
	return error_set(
		error, ERROR_USAGE,
		"no tensor has the name of a parameter of %s: expected %s; the file has %s: rename its tensors, or "
		"choose its network with --model",
		model->name, ours, theirs[0] != '\0' ? theirs : "no tensors");
}

bool against_check(const struct model *model, const struct safetensors *file, char *ret_extra, size_t size,
		   struct error *error)
{
	char missing[250] = "", shapes[300] = "", shape[360];
	uint32_t found = 0;
	for (uint32_t i = 0; i < model_parameter_count(model); i++) {
		struct parameter parameter;
		model_parameter(model, i, &parameter);
		const struct safetensors_entry *entry = safetensors_find(file, parameter.name);
		if (entry == NULL)
			append(missing, sizeof(missing), parameter.name);
		else if (!has_shape(&parameter, entry, shape, sizeof(shape)))
			append(shapes, sizeof(shapes), shape);
		found += entry != NULL;
	}
	ret_extra[0] = '\0';
	for (uint32_t i = 0; i < safetensors_count(file); i++)
		if (!is_of_model(model, safetensors_entry(file, i)->name))
			append(ret_extra, size, safetensors_entry(file, i)->name);
	if (missing[0] == '\0' && shapes[0] == '\0')
		return true;
	if (found == 0)
		return refuse_names(model, ret_extra, error);
	return error_set(error, ERROR_USAGE, "%s%s%s%s%s%s%.200s: --model and --classes must be the file's",
			 missing[0] != '\0' ? "not in the file: " : "", missing,
			 missing[0] != '\0' && shapes[0] != '\0' ? "; " : "",
			 shapes[0] != '\0' ? "of another shape or type: " : "", shapes,
			 ret_extra[0] != '\0' ? "; the model lacks: " : "", ret_extra);
}

// ---- Their values

static double relative_of(double square_difference, double square_theirs)
{
	return square_difference == 0 ? 0 : sqrt(square_difference) / sqrt(square_theirs);
}

// NAN is the worst of all.
static bool is_worse(double difference, double than)
{
	return isnan(difference) ? !isnan(than) : difference > than;
}

static struct against_parameter compare_values(const float *ours, const float *theirs, uint64_t count)
{
	struct against_parameter result = {.ours = ours[0], .theirs = theirs[0]};
	double square_difference = 0, square_theirs = 0, largest = 0;
	for (uint64_t i = 0; i < count; i++) {
		bool same = compare_same_bits(ours[i], theirs[i]);
		uint64_t ulp = same ? 0 : compare_ulp_float(ours[i], theirs[i]);
		double difference = same ? 0 : fabs((double)ours[i] - (double)theirs[i]);
		square_difference += difference * difference;
		square_theirs += (double)theirs[i] * (double)theirs[i];
		result.differ += !same;
		result.largest_ulp = ulp > result.largest_ulp ? ulp : result.largest_ulp;
		if (is_worse(difference, largest)) {
			largest = difference;
			result.element = i;
			result.ours = ours[i];
			result.theirs = theirs[i];
		}
	}
	result.relative = relative_of(square_difference, square_theirs);
	return result;
}

static bool compare_parameter(const struct safetensors *file, const struct parameter *parameter, const float *ours,
			      struct against_parameter *ret_result, struct error *error)
{
	const struct safetensors_entry *entry = safetensors_find(file, parameter->name);
	float *theirs = malloc(parameter->count * sizeof(*theirs));
	bool ok = theirs != NULL || error_set(error, ERROR_FAILED, "out of memory");
	ok = ok && safetensors_read(file, entry, 0, parameter->count, theirs, error);
	if (ok)
		*ret_result = compare_values(ours, theirs, parameter->count);
	free(theirs);
	return ok;
}

bool against_compare(const struct capture *capture, const struct safetensors *file,
		     const struct against_tolerance *tolerance, struct against *ret_against, struct error *error)
{
	struct against against = {.tolerance = *tolerance, .count = capture->parameter_count};
	against.parameters = calloc(against.count + 1, sizeof(*against.parameters));
	if (against.parameters == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t i = 0; i < against.count; i++) {
		struct parameter parameter;
		model_parameter(&capture->model, i, &parameter);
		struct against_parameter *result = &against.parameters[i];
		if (!compare_parameter(file, &parameter, capture->values[i], result, error)) {
			against_fini(&against);
			return false;
		}
		result->agrees = result->relative <= tolerance->relative || result->largest_ulp <= tolerance->ulp;
		against.agree += result->agrees;
		against.elements += parameter.count;
		against.differ += result->differ;
		if (is_worse(result->relative, against.parameters[against.worst].relative))
			against.worst = i;
	}
	*ret_against = against;
	return true;
}

void against_fini(struct against *against)
{
	free(against->parameters);
	*against = (struct against){0};
}
