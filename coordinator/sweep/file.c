// See file.h.
#include "coordinator/sweep/file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/strings.h"

enum { FORMAT = 1 };

// ---- Writing

static json_t *list_to_json(const struct grid_list *list)
{
	json_t *array = json_array();
	for (uint32_t i = 0; i < list->count; i++)
		json_array_append_new(array, json_integer(list->values[i]));
	return array;
}

static json_t *figure_to_json(const struct sweep_figures *figures, const struct sweep_column *column)
{
	const char *at = (const char *)figures + column->offset;
	return column->is_count ? json_integer((json_int_t) * (const uint64_t *)at) : json_real(*(const double *)at);
}

static json_t *result_to_json(const struct sweep *sweep, const struct sweep_result *result)
{
	json_t *object = json_pack("{s:i, s:i, s:i, s:s}", "nodes", (int)result->cell.nodes, "pipeline_size",
				   (int)result->cell.pipeline_size, "micro_batch_size",
				   (int)result->cell.micro_batch_size, "outcome", sweep_outcome_name(result->outcome));
	double efficiency = sweep_efficiency(sweep, result);
	if (!isnan(efficiency)) // for the reader; it is never read back
		json_object_set_new(object, "efficiency", json_real(efficiency));
	for (int i = 0; i < SWEEP_COLUMNS && result->outcome == SWEEP_DONE; i++)
		json_object_set_new(object, sweep_columns[i].name, figure_to_json(&result->figures, &sweep_columns[i]));
	if (result->fit[0] != '\0')
		json_object_set_new(object, "fit", json_string(result->fit));
	if (result->message[0] != '\0')
		json_object_set_new(object, "message", json_string(result->message));
	return object;
}

bool sweep_file_write(const struct sweep *sweep, FILE *out)
{
	json_t *cells = json_array();
	for (uint32_t i = 0; i < sweep->count; i++)
		json_array_append_new(cells, result_to_json(sweep, &sweep->results[i]));
	json_t *root =
		json_pack("{s:i, s:s, s:s, s:O, s:o, s:o, s:o, s:o}", "format", FORMAT, "title", sweep->title, "note",
			  sweep->note, "setting", sweep->setting, "micro_batch_sizes",
			  list_to_json(&sweep->grid.micro_batch_sizes), "nodes", list_to_json(&sweep->grid.nodes),
			  "pipeline_sizes", list_to_json(&sweep->grid.pipeline_sizes), "cells", cells);
	char *text = root != NULL && json_array_size(cells) == sweep->count ? json_dumps(root, JSON_INDENT(1)) : NULL;
	if (text != NULL)
		fprintf(out, "%s\n", text);
	bool ok = text != NULL;
	free(text);
	json_decref(root);
	return ok;
}

// ---- Reading

struct reader {
	const char *path;
	struct error *error;
};

static bool refuse(const struct reader *reader, const char *what)
{
	return error_set(reader->error, ERROR_USAGE,
			 "%s: %s: penstock sweep did not write it like this; it was not changed: move it away, or name "
			 "another --output",
			 reader->path, what);
}

static bool read_list(const struct reader *reader, const json_t *root, const char *name, uint32_t minimum,
		      struct grid_list *list)
{
	const json_t *array = json_object_get(root, name);
	size_t count = json_array_size(array); // 0 of what is no array
	if (count < 1 || count > GRID_MAXIMUM_VALUES)
		return refuse(reader, name);
	for (size_t i = 0; i < count; i++) {
		json_int_t value = json_integer_value(json_array_get(array, i));
		if (value < minimum || value > INT32_MAX)
			return refuse(reader, name);
		list->values[i] = (uint32_t)value;
	}
	list->count = (uint32_t)count;
	return true;
}

static void read_text(const json_t *object, const char *name, char *into, size_t size)
{
	const char *text = json_string_value(json_object_get(object, name));
	strings_printable(text != NULL ? text : "", into, size);
}

static bool read_figure(const json_t *object, const struct sweep_column *column, struct sweep_figures *figures)
{
	const json_t *value = json_object_get(object, column->name);
	char *at = (char *)figures + column->offset;
	if (column->is_count) {
		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return false;
		*(uint64_t *)at = (uint64_t)json_integer_value(value);
		return true;
	}
	*(double *)at = json_number_value(value);
	bool may_be_negative = column->offset >= offsetof(struct sweep_figures, bubble); // shares may, by a little
	return json_is_number(value) && isfinite(*(double *)at) && (may_be_negative || *(double *)at >= 0.0);
}

static bool read_count(const struct reader *reader, const json_t *cell, const char *name, uint32_t *ret_count)
{
	char what[40];
	const json_t *value = json_object_get(cell, name);
	json_int_t count = json_integer_value(value);
	snprintf(what, sizeof(what), "a cell's %s", name);
	if (!json_is_integer(value) || count < 0 || count > INT32_MAX)
		return refuse(reader, what);
	*ret_count = (uint32_t)count;
	return true;
}

static bool read_result(const struct reader *reader, const struct sweep *sweep, const json_t *object, bool *is_read)
{
	char what[SWEEP_LABEL_SIZE + 64], label[SWEEP_LABEL_SIZE];
	struct cell cell;
	if (!read_count(reader, object, "nodes", &cell.nodes) ||
	    !read_count(reader, object, "pipeline_size", &cell.pipeline_size) ||
	    !read_count(reader, object, "micro_batch_size", &cell.micro_batch_size))
		return false;
	const char *outcome = json_string_value(json_object_get(object, "outcome"));
	struct sweep_result *result = sweep_find(sweep, cell);
	snprintf(what, sizeof(what), "cell %s", sweep_label(&cell, label));
	if (result == NULL || outcome == NULL || !sweep_outcome_parse(outcome, &result->outcome))
		return refuse(reader, what);
	if (is_read[result - sweep->results]) {
		snprintf(what, sizeof(what), "cell %s appears twice", label);
		return refuse(reader, what);
	}
	is_read[result - sweep->results] = true;
	read_text(object, "fit", result->fit, sizeof(result->fit));
	read_text(object, "message", result->message, sizeof(result->message));
	for (int i = 0; i < SWEEP_COLUMNS && result->outcome == SWEEP_DONE; i++)
		if (!read_figure(object, &sweep_columns[i], &result->figures)) {
			snprintf(what, sizeof(what), "cell %s: %s", label, sweep_columns[i].name);
			return refuse(reader, what);
		}
	return true;
}

static bool read_cells(const struct reader *reader, const struct sweep *sweep, const json_t *cells)
{
	char what[80];
	if (!json_is_array(cells))
		return refuse(reader, "cells");
	_cleanup_free_ bool *is_read = calloc(sweep->count, sizeof(*is_read));
	if (is_read == NULL)
		return error_set(reader->error, ERROR_FAILED, "out of memory");
	for (size_t i = 0; i < json_array_size(cells); i++)
		if (!read_result(reader, sweep, json_array_get(cells, i), is_read))
			return false;
	if (json_array_size(cells) == sweep->count)
		return true;
	snprintf(what, sizeof(what), "it has %zu of %u cells", json_array_size(cells), sweep->count);
	return refuse(reader, what);
}

static bool read_root(const struct reader *reader, const json_t *root, struct sweep **ret_sweep)
{
	struct grid grid = {0};
	struct sweep *sweep = NULL;
	json_t *setting = json_object_get(root, "setting");
	if (json_integer_value(json_object_get(root, "format")) != FORMAT)
		return refuse(reader, "format is not 1");
	if (!read_list(reader, root, "micro_batch_sizes", 1, &grid.micro_batch_sizes) ||
	    !read_list(reader, root, "nodes", 1, &grid.nodes) ||
	    !read_list(reader, root, "pipeline_sizes", 0, &grid.pipeline_sizes))
		return false;
	if (!json_is_object(setting))
		return refuse(reader, "setting");
	if (!sweep_create(&grid, json_incref(setting), &sweep, reader->error))
		return false;
	read_text(root, "title", sweep->title, sizeof(sweep->title));
	read_text(root, "note", sweep->note, sizeof(sweep->note));
	if (!read_cells(reader, sweep, json_object_get(root, "cells"))) {
		sweep_destroy(sweep);
		return false;
	}
	*ret_sweep = sweep;
	return true;
}

// Does not wait, should it be a pipe.
static FILE *open_regular(const struct reader *reader)
{
	struct stat status;
	int file = open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file < 0) {
		error_set(reader->error, ERROR_USAGE, "%s: %s", reader->path, strerror(errno));
		return NULL;
	}
	FILE *in = NULL;
	if (fstat(file, &status) < 0 || !S_ISREG(status.st_mode))
		refuse(reader, "is not a regular file");
	else if ((in = fdopen(file, "r")) == NULL)
		error_set(reader->error, ERROR_FAILED, "%s: %s", reader->path, strerror(errno));
	if (in == NULL)
		close(file);
	return in;
}

bool sweep_file_read(const char *path, struct sweep **ret_sweep, struct error *error)
{
	struct reader reader = {.path = path, .error = error};
	json_error_t json_error;
	FILE *in = open_regular(&reader);
	if (in == NULL)
		return false;
	json_t *root = json_loadf(in, JSON_REJECT_DUPLICATES, &json_error);
	fclose(in);
	if (root == NULL) {
		char why[JSON_ERROR_TEXT_LENGTH + 40], printable[sizeof(why)];
		snprintf(why, sizeof(why), "line %d: %s", json_error.line, json_error.text);
		return refuse(&reader, strings_printable(why, printable, sizeof(printable)));
	}
	bool ok = read_root(&reader, root, ret_sweep);
	json_decref(root);
	return ok;
}
