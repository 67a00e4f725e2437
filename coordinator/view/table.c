// See table.h.
#include "coordinator/view/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/view/text.h"

enum { GAP = 2, INDENT = 2, CELL_BYTES = TABLE_CELL_COLUMNS * 4 + 1, FIRST_CAPACITY = 64 };

struct table {
	const struct table_column *columns;
	uint32_t column_count;
	uint32_t *widths; // [column_count]
	char **cells;     // row after row
	size_t count, capacity;
	bool failed; // memory was out
};

struct table *table_create(const struct table_column *columns, uint32_t count)
{
	struct table *table = calloc(1, sizeof(*table));
	if (table == NULL)
		return NULL;
	table->columns = columns;
	table->column_count = count;
	table->widths = calloc(count, sizeof(*table->widths));
	if (table->widths == NULL) {
		free(table);
		return NULL;
	}
	for (uint32_t i = 0; i < count; i++)
		table->widths[i] = text_columns(columns[i].name);
	return table;
}

void table_destroy(struct table *table)
{
	if (table == NULL)
		return;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table->widths);
	free(table);
}

static bool make_room(struct table *table)
{
	if (table->count < table->capacity)
		return true;
	size_t capacity = table->capacity > 0 ? table->capacity * 2 : FIRST_CAPACITY;
	char **cells = realloc(table->cells, capacity * sizeof(*cells));
	if (cells == NULL)
		return false;
	table->cells = cells;
	table->capacity = capacity;
	return true;
}

void table_cell(struct table *table, const char *format, ...)
{
	char text[CELL_BYTES], fitting[CELL_BYTES];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	text_fit(text, TABLE_CELL_COLUMNS, fitting, sizeof(fitting));
	char *copy = strdup(fitting);
	if (copy == NULL || !make_room(table)) {
		free(copy);
		table->failed = true;
		return;
	}
	uint32_t *width = &table->widths[table->count % table->column_count];
	uint32_t columns = text_columns(copy);
	if (columns > *width)
		*width = columns;
	table->cells[table->count++] = copy;
}

uint32_t table_offset(const struct table *table, uint32_t column)
{
	uint32_t offset = 0;
	for (uint32_t i = 0; i < column; i++)
		offset += table->widths[i] + GAP;
	return offset;
}

// Nothing follows the last cell: no line is wider than what stands in it.
static void write_cell(const struct table *table, uint32_t column, const char *text, FILE *out)
{
	int pad = (int)(table->widths[column] - text_columns(text));
	bool last = column + 1 == table->column_count;
	if (table->columns[column].right)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	if (last)
		fputc('\n', out);
	else
		fprintf(out, "%*s", GAP, "");
}

static void write_row(const struct table *table, bool wraps, const char *(*text)(const struct table *, size_t),
		      size_t first, FILE *out)
{
	for (uint32_t i = 0; i < table->column_count; i++) {
		if (i == 0 && wraps)
			fprintf(out, "%s\n%*s", text(table, first), INDENT, "");
		else
			write_cell(table, i, text(table, first + i), out);
	}
}

static const char *header_text(const struct table *table, size_t index)
{
	return table->columns[index].name;
}

static const char *cell_text(const struct table *table, size_t index)
{
	return table->cells[index];
}

bool table_write(const struct table *table, uint32_t columns, FILE *out)
{
	if (table->failed || table->column_count == 0)
		return false;
	uint32_t last = table->column_count - 1;
	bool wraps = columns > 0 && last > 0 && table_offset(table, last) + table->widths[last] > columns;
	write_row(table, wraps, header_text, 0, out);
	for (size_t i = 0; i + last < table->count; i += table->column_count)
		write_row(table, wraps, cell_text, i, out);
	return true;
}
