// See csv.h.
#include "coordinator/sweep/csv.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void write_text(const char *text, FILE *out)
{
	if (strpbrk(text, ",\"\n\r") == NULL) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (const char *c = text; *c != '\0'; c++) {
		if (*c == '"')
			fputc('"', out);
		fputc(*c, out);
	}
	fputc('"', out);
}

static void write_figure(const struct sweep_figures *figures, const struct sweep_column *column, FILE *out)
{
	const char *at = (const char *)figures + column->offset;
	if (column->is_count)
		fprintf(out, "%" PRIu64, *(const uint64_t *)at);
	else
		fprintf(out, "%.9g", *(const double *)at);
}

static void write_row(const struct sweep *sweep, const struct sweep_result *result, FILE *out)
{
	double efficiency = sweep_efficiency(sweep, result);
	fprintf(out, "%u,%u,%u,%s,", result->cell.nodes, result->cell.pipeline_size, result->cell.micro_batch_size,
		sweep_outcome_name(result->outcome));
	if (!isnan(efficiency))
		fprintf(out, "%.9g", efficiency);
	for (int i = 0; i < SWEEP_COLUMNS; i++) {
		fputc(',', out);
		if (result->outcome == SWEEP_DONE)
			write_figure(&result->figures, &sweep_columns[i], out);
	}
	fputc(',', out);
	write_text(result->fit, out);
	fputc(',', out);
	write_text(result->message, out);
	fputc('\n', out);
}

void sweep_csv_write(const struct sweep *sweep, FILE *out)
{
	fputs("nodes,pipeline_size,micro_batch_size,outcome,efficiency", out);
	for (int i = 0; i < SWEEP_COLUMNS; i++)
		fprintf(out, ",%s", sweep_columns[i].name);
	fputs(",fit,message\n", out);
	for (uint32_t i = 0; i < sweep->count; i++)
		write_row(sweep, &sweep->results[i], out);
}
