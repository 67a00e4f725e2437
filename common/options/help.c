// --help: the table's rows in two columns. See table.h.
#include <stdio.h>
#include <string.h>

#include "common/options/table.h"

enum { COLUMN = 28, WIDTH = 80 };

// "  -H, --hostfile FILE", or behind another "..., --save FILE"; a value that may lack is "[N]", or "[=WORD]" if it must be attached. Returns `used` and what was added.
static size_t add_name(char *into, size_t size, size_t used, const struct option_row *row)
{
	used += (size_t)snprintf(into + used, size - used, "%s", used == 0 ? "  " : ", ");
	if (row->letter != '\0')
		used += (size_t)snprintf(into + used, size - used, "-%c, ", row->letter);
	used += (size_t)snprintf(into + used, size - used, "--%s", row->name);
	if (row->value != NULL) {
		const char *format = !row->value_may_lack ? " %s" : row->value_is_digits ? " [%s]" : "[=%s]";
		used += (size_t)snprintf(into + used, size - used, format, row->value);
	}
	return used;
}

// The right column, beside the `used` letters of the left one or below it. A default stands at the end, in brackets, before those that
// close the text.
static void print_text(const struct option_row *row, int used)
{
	char text[500];
	if (row->preset != NULL)
		snprintf(text, sizeof(text), "%s (default %s)", row->help, row->preset);
	else
		snprintf(text, sizeof(text), "%s", row->help);
	char *rest = NULL;
	if (text[0] != '\0' && used > COLUMN - 2) {
		putchar('\n');
		used = 0;
	}
	for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
		if (used < COLUMN)
			used += printf("%*s", COLUMN - used, "");
		else if (used + 1 + (int)strlen(word) <= WIDTH)
			used += printf(" ");
		else
			used = printf("\n%*s", COLUMN, "") - 1;
		used += printf("%s", word);
	}
	putchar('\n');
}

void options_print(const struct option_table *table)
{
	char left[200];
	size_t used = 0;
	if (table->introduction != NULL)
		fputs(table->introduction, stdout);
	for (uint32_t i = 0; i < table->count; i++) {
		const struct option_row *row = &table->rows[i];
		if (!option_is_had(table, row))
			continue;
		if (row->heading != NULL)
			printf("\n%s\n", row->heading);
		used = add_name(left, sizeof(left), used, row);
		if (row->help == NULL)
			continue;
		print_text(row, printf("%s", left));
		used = 0;
	}
	if (table->conclusion != NULL)
		fputs(table->conclusion, stdout);
}
