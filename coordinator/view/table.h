// A table with aligned columns, which are as wide as their widest cell. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { TABLE_CELL_COLUMNS = 64 }; // a cell that is wider is cut

struct table_column {
	const char *name;
	bool right; // numbers
};

struct table;

struct table *table_create(const struct table_column *columns, uint32_t count); // NULL when memory is out
void table_destroy(struct table *table);                                        // takes NULL
// The next cell, row after row. It is made printable: what a peer wrote may stand in it.
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint32_t table_offset(const struct table *table, uint32_t column); // where the column begins
// The header and the whole rows. Where they are wider than `columns` (0: there is no such limit), the first cell of each has a line of
// its own, and the others follow below it. False when memory was out.
bool table_write(const struct table *table, uint32_t columns, FILE *out);
