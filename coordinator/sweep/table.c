// See table.h.
#include "coordinator/sweep/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"

// ---- The two tables of nodes by micro-batch and pipeline size

static void write_rate(double rate, FILE *out)
{
	fprintf(out, "%.*f", rate < 10.0 ? 3 : rate < 100.0 ? 2 : rate < 10000.0 ? 1 : 0, rate);
}

static void write_throughput(const struct sweep *sweep, const struct sweep_result *result, FILE *out)
{
	switch (result->outcome) {
	case SWEEP_DONE:
		write_rate(result->figures.samples_per_second, out);
		break;
	case SWEEP_OUT_OF_MEMORY:
		fputs("out of memory", out);
		break;
	case SWEEP_FAILED:
		fputs("failed", out);
		break;
	case SWEEP_DIVERGED:
		fputs("diverged", out);
		break;
	case SWEEP_MISSING:
		fputs("not run", out);
		break;
	case SWEEP_EMPTY:
		break;
	}
}

static void write_efficiency(const struct sweep *sweep, const struct sweep_result *result, FILE *out)
{
	double efficiency = sweep_efficiency(sweep, result);
	if (!isnan(efficiency))
		fprintf(out, "%.2f", efficiency);
}

static void write_grid(const struct sweep *sweep,
		       void (*write_cell)(const struct sweep *sweep, const struct sweep_result *result, FILE *out),
		       FILE *out)
{
	const struct grid *grid = &sweep->grid;
	fputs("| nodes |", out);
	for (uint32_t b = 0; b < grid->micro_batch_sizes.count; b++)
		for (uint32_t p = 0; p < grid->pipeline_sizes.count; p++) {
			if (p == 0)
				fprintf(out, " µb %u:", grid->micro_batch_sizes.values[b]);
			fprintf(out, " p=%u |", grid->pipeline_sizes.values[p]);
		}
	fputs("\n|---|", out);
	for (uint32_t i = 0; i < grid->micro_batch_sizes.count * grid->pipeline_sizes.count; i++)
		fputs("---:|", out);
	fputc('\n', out);
	for (uint32_t n = 0; n < grid->nodes.count; n++) {
		fprintf(out, "| %u |", grid->nodes.values[n]);
		for (uint32_t b = 0; b < grid->micro_batch_sizes.count; b++)
			for (uint32_t p = 0; p < grid->pipeline_sizes.count; p++) {
				struct cell cell = {.nodes = grid->nodes.values[n],
						    .pipeline_size = grid->pipeline_sizes.values[p],
						    .micro_batch_size = grid->micro_batch_sizes.values[b]};
				fputc(' ', out);
				write_cell(sweep, sweep_find(sweep, cell), out);
				fputs(" |", out);
			}
		fputc('\n', out);
	}
}

// ---- Efficiency, and where there is none

static void write_missing_bases(const struct sweep *sweep, FILE *out)
{
	const struct grid_list *sizes = &sweep->grid.micro_batch_sizes;
	for (uint32_t b = 0; b < sizes->count; b++) {
		const struct sweep_result *base = sweep_base(sweep, sizes->values[b]);
		if (base != NULL && base->outcome == SWEEP_DONE && base->figures.devices == 1)
			continue;
		fprintf(out, "\nNone for micro-batches of %u: ", sizes->values[b]);
		if (base == NULL)
			fputs("the sweep has no cell of 1 node at pipeline size 0 or 1 to refer to.\n", out);
		else if (base->outcome == SWEEP_DONE)
			fprintf(out, "1 node has %u devices, and there is no figure for one alone.\n",
				(unsigned)base->figures.devices);
		else
			fprintf(out, "the cell they refer to, 1 node at pipeline size %u, is %s.\n",
				base->cell.pipeline_size,
				base->outcome == SWEEP_MISSING ? "not run yet" : sweep_outcome_name(base->outcome));
	}
}

static void write_efficiencies(const struct sweep *sweep, FILE *out)
{
	fputs("\n## Efficiency\n\n"
	      "Samples/s over devices x samples/s of one device with the same micro-batch: 1 is ideal.\n\n",
	      out);
	write_grid(sweep, write_efficiency, out);
	write_missing_bases(sweep, out);
}

// ---- Where the time goes

enum { SHARES = 7, TENTHS = 1000 }; // computing, copying, four waits, other

// Rounds shares that add up to 1 to tenths of a percent that add up to 100 % (largest remainder method): each share is rounded down, and the
// missing tenths go to the shares with the largest remainders.
static void round_shares(const double share[SHARES], uint32_t ret_tenths[SHARES])
{
	double rest[SHARES];
	uint32_t sum = 0;
	for (int i = 0; i < SHARES; i++) {
		double tenths = TENTHS * share[i];
		ret_tenths[i] = (uint32_t)tenths;
		rest[i] = tenths - ret_tenths[i];
		sum += ret_tenths[i];
	}
	for (; sum < TENTHS; sum++) {
		int most = 0;
		for (int i = 1; i < SHARES; i++)
			if (rest[i] > rest[most])
				most = i;
		ret_tenths[most]++;
		rest[most] -= 1.0;
	}
}

// Where a device computes while its stage waits, the shares add up to more than 1; they are shown in proportion, as top's bar does.
static void write_shares(const struct sweep_figures *f, FILE *out)
{
	double share[SHARES] = {f->compute_share,   f->copy_share,          f->wait_previous_share,
				f->wait_next_share, f->wait_replicas_share, f->wait_coordinator_share};
	double sum = 0.0;
	uint32_t tenths[SHARES];
	for (int i = 0; i < SHARES; i++)
		sum += share[i] = share[i] > 0.0 ? share[i] : 0.0;
	share[SHARES - 1] = sum < 1.0 ? 1.0 - sum : 0.0;
	for (int i = 0; sum > 1.0 && i < SHARES; i++)
		share[i] /= sum;
	round_shares(share, tenths);
	for (int i = 0; i < SHARES; i++)
		fprintf(out, " %u.%u |", tenths[i] / 10, tenths[i] % 10);
	uint32_t bubble = TENTHS - tenths[0] - tenths[1];
	fprintf(out, " %u.%u |", bubble / 10, bubble % 10);
}

static void write_times(const struct sweep *sweep, FILE *out)
{
	bool any = false;
	for (uint32_t i = 0; i < sweep->count; i++) {
		const struct sweep_result *result = &sweep->results[i];
		const struct sweep_figures *f = &result->figures;
		char memory[32];
		if (result->outcome != SWEEP_DONE)
			continue;
		if (!any)
			fputs("\n## Where the time goes\n\n"
			      "Shares of a step in %, means over the devices. They add up to 100: other is what no "
			      "part accounts "
			      "for, and where a device computes while its stage waits, all are shown in proportion. "
			      "The bubble "
			      "is all but computing and copying. The memory is that of the device that reserves "
			      "most.\n\n"
			      "| nodes | p | µb | ms/step | min | max | computing | copying | waiting: previous | next "
			      "| replicas | coordinator | other | bubble | memory |\n"
			      "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
			      out);
		any = true;
		fprintf(out, "| %u | %u | %u | %.1f | %.1f | %.1f |", result->cell.nodes, result->cell.pipeline_size,
			result->cell.micro_batch_size, 1e3 * f->step_seconds_median, 1e3 * f->step_seconds_minimum,
			1e3 * f->step_seconds_maximum);
		write_shares(f, out);
		fprintf(out, " %s |\n", strings_format_bytes(f->memory_bytes, memory, sizeof(memory)));
	}
}

// ---- What there is to say of cells in words

// The text goes to where Markdown is read: what would be markup there is escaped.
static void write_words(const char *text, FILE *out)
{
	for (const char *c = text; *c != '\0'; c++) {
		if (strchr("\\`*_<>[]|#", *c) != NULL)
			fputc('\\', out);
		fputc(*c, out);
	}
}

static void write_remarks(const struct sweep *sweep, enum sweep_outcome outcome, const char *heading, FILE *out)
{
	char label[SWEEP_LABEL_SIZE];
	bool any = false;
	for (uint32_t i = 0; i < sweep->count; i++) {
		const struct sweep_result *result = &sweep->results[i];
		const char *words = outcome == SWEEP_DONE ? result->fit : result->message;
		if (result->outcome != outcome || words[0] == '\0')
			continue;
		if (!any)
			fprintf(out, "\n## %s\n\n", heading);
		any = true;
		fprintf(out, "- %s: ", sweep_label(&result->cell, label));
		write_words(words, out);
		fputc('\n', out);
	}
}

// A cell is empty with every micro-batch, or with none.
static void write_empty(const struct sweep *sweep, FILE *out)
{
	bool any = false;
	for (uint32_t i = 0; i < sweep->count; i++) {
		const struct sweep_result *result = &sweep->results[i];
		if (result->outcome != SWEEP_EMPTY ||
		    result->cell.micro_batch_size != sweep->grid.micro_batch_sizes.values[0])
			continue;
		if (!any)
			fputs("\n## Empty cells\n\n", out);
		any = true;
		fprintf(out, "- %u node%s, pipeline size %u: %s\n", result->cell.nodes,
			result->cell.nodes == 1 ? "" : "s", result->cell.pipeline_size, result->message);
	}
}

static void write_setting(const struct sweep *sweep, FILE *out)
{
	const char *name;
	json_t *value;
	fputs("\n## Setting\n\n", out);
	json_object_foreach(sweep->setting, name, value)
	{
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
		fputs("- ", out);
		write_words(name, out);
		fputs(": ", out);
		write_words(json_is_string(value) ? json_string_value(value) : text != NULL ? text : "?", out);
		fputc('\n', out);
	}
}

void sweep_table_write(const struct sweep *sweep, FILE *out)
{
	fprintf(out, "# Sweep: %s\n", sweep->title);
	if (sweep->note[0] != '\0')
		fprintf(out, "\n**%s**\n", sweep->note);
	fputs("\n## Throughput\n\nSamples/s by nodes, size of the micro-batches (µb) and pipeline size (p; 0: no "
	      "pipeline, "
	      "every device holds the whole model).\n\n",
	      out);
	write_grid(sweep, write_throughput, out);
	write_efficiencies(sweep, out);
	write_times(sweep, out);
	write_remarks(sweep, SWEEP_DONE, "How cells were made to fit", out);
	write_remarks(sweep, SWEEP_OUT_OF_MEMORY, "Out of memory", out);
	write_remarks(sweep, SWEEP_DIVERGED, "Diverged", out);
	write_remarks(sweep, SWEEP_FAILED, "Failed", out);
	write_empty(sweep, out);
	write_setting(sweep, out);
}
