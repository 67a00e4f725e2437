// penstock sweep
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/strings.h"
#include "common/rpc/rpc.h"
#include "coordinator/command/command.h"
#include "coordinator/command/job_dataset.h"
#include "coordinator/command/job_numerics.h"
#include "coordinator/command/output.h"
#include "coordinator/command/sweep_cell.h"
#include "coordinator/command/sweep_setting.h"
#include "coordinator/report/terminal.h"
#include "coordinator/sweep/file.h"
#include "coordinator/sweep/output.h"
#include "coordinator/sweep/resume.h"

enum { NETWORK_THREADS = 2, TERMINAL_INTERVAL_MS = 100 };

struct command {
	struct sweep_arguments arguments;
	struct job_nodes nodes;
	struct dataset *dataset;
	struct numerics *numerics;
	struct sweep *sweep;
	struct sweep_output *output;
	bool rpc_is_started;
	bool is_terminal; // stderr
	bool has_warned;  // that devices differ
	// Of the cell that runs:
	char line[SWEEP_LABEL_SIZE + 40]; // "cell 3 of 12: ..."
	uint64_t shown_ns;
	uint32_t lost_nodes; // a node among the first so many was lost, and no cell with as many has run since; 0: none
};

// ---- Before the first cell

static bool read_nodes(struct command *command, struct error *error)
{
	const struct grid *grid = &command->arguments.grid;
	struct job_arguments *job = &command->arguments.job;
	if (!job_nodes_read(job, &command->nodes, error))
		return false;
	uint32_t there = job_nodes_count(&command->nodes), most = grid_most_nodes(grid);
	if (there == 0)
		return error_set(error, ERROR_USAGE,
				 "no nodes are given: name them with -H HOSTFILE, or start some with --local");
	if (most > there)
		return error_set(error, ERROR_USAGE, "--nodes: a cell needs %u nodes, but %s has only %u", most,
				 command->nodes.name, there);
	return job_nodes_check(&command->nodes, error);
}

static uint32_t devices_of(const void *nodes, uint32_t count)
{
	return job_nodes_devices(nodes, count);
}

static void on_progress(void *user, uint64_t step, double samples_per_second)
{
	struct command *command = user;
	uint64_t now = clock_now_ns();
	if (!command->is_terminal || (now - command->shown_ns) / 1000000 < TERMINAL_INTERVAL_MS)
		return;
	command->shown_ns = now;
	char line[sizeof(command->line) + 120], rate[48] = "";
	if (samples_per_second > 0.0)
		snprintf(rate, sizeof(rate), ", %.1f samples/s", samples_per_second);
	snprintf(line, sizeof(line), "%s: step %llu of %llu%s", command->line, (unsigned long long)step,
		 (unsigned long long)command->arguments.job.steps, rate);
	progress_show(line);
}

// Once: it holds for every cell that has these devices.
static void on_warning(void *user, const char *text)
{
	struct command *command = user;
	if (command->has_warned)
		return;
	command->has_warned = true;
	if (command->is_terminal)
		fputs("\r\033[K", stderr);
	log_warning("%s", text);
}

static struct sweep_cell_options cell_options(struct command *command)
{
	return (struct sweep_cell_options){.arguments = &command->arguments,
					   .nodes = &command->nodes,
					   .dataset = command->dataset,
					   .numerics = command->numerics,
					   .warn = on_warning,
					   .progress = on_progress,
					   .user = command};
}

// What cannot be is found now, and not after hours. What does not fit is a result, and is found when its turn comes.
static bool check_cells(struct command *command, struct error *error)
{
	struct sweep_cell_options options = cell_options(command);
	for (uint32_t i = 0; i < command->sweep->count; i++) {
		const struct sweep_result *result = &command->sweep->results[i];
		if (result->outcome != SWEEP_EMPTY && !sweep_cell_check(&options, &result->cell, error) &&
		    error->code != ERROR_OUT_OF_MEMORY)
			return false;
	}
	return true;
}

static bool make_sweep(struct command *command, struct error *error)
{
	const struct sweep_arguments *arguments = &command->arguments;
	json_t *setting;
	if (!job_dataset_open(&command->arguments.job, &command->dataset, error) ||
	    !sweep_setting(arguments, &command->nodes, &setting, error) ||
	    !sweep_create(&arguments->grid, setting, &command->sweep, error))
		return false;
	sweep_mark_empty(command->sweep, devices_of, &command->nodes);
	snprintf(command->sweep->title, sizeof(command->sweep->title), "%s, image size %u", arguments->job.model,
		 arguments->job.image_size);
	sweep_note(&command->nodes, grid_most_nodes(&arguments->grid), command->sweep->note,
		   sizeof(command->sweep->note));
	return check_cells(command, error);
}

static uint32_t count_outcome(const struct sweep *sweep, enum sweep_outcome outcome)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < sweep->count; i++)
		count += sweep->results[i].outcome == outcome;
	return count;
}

static bool resume(struct command *command, struct error *error)
{
	const char *path = sweep_output_json_path(command->output);
	struct sweep *before, *sweep = command->sweep;
	if (!sweep_output_has_json(command->output))
		return true;
	if (!sweep_file_read(path, &before, error))
		return false;
	bool ok = sweep_resume_from(sweep, before, path, error);
	sweep_destroy(before);
	uint32_t kept = count_outcome(sweep, SWEEP_DONE) + count_outcome(sweep, SWEEP_OUT_OF_MEMORY) +
			count_outcome(sweep, SWEEP_DIVERGED);
	const char *are = kept == 1 ? "is" : "are";
	if (ok && kept > 0)
		printf("%u of %u cells %s already in %s and %s kept\n", kept,
		       sweep->count - count_outcome(sweep, SWEEP_EMPTY), are, path, are);
	return ok;
}

static bool open_output(struct command *command, struct error *error)
{
	return sweep_output_open(command->arguments.job.output, &command->output, error) && resume(command, error) &&
	       // What cannot be written is said before the first cell runs.
	       sweep_output_write(command->output, command->sweep, error);
}

static bool start(struct command *command, struct error *error)
{
	if (count_outcome(command->sweep, SWEEP_MISSING) == 0) // all is there
		return true;
	if (!job_numerics_open(&command->arguments.job, &command->numerics, error) ||
	    !job_nodes_start(&command->nodes, error) || !rpc_start(NETWORK_THREADS, error))
		return false;
	command->rpc_is_started = true;
	return true;
}

// ---- The cells

static void print_result(const struct command *command, const struct sweep_result *result)
{
	const struct sweep_figures *figures = &result->figures;
	double efficiency = sweep_efficiency(command->sweep, result);
	if (command->is_terminal)
		progress_clear();
	if (result->outcome == SWEEP_DONE) {
		printf("%s: %.1f samples/s", command->line, figures->samples_per_second);
		if (efficiency > 0.0) // and not unknown
			printf(", efficiency %.2f", efficiency);
		printf(", bubble %.1f%%\n", 100.0 * figures->bubble);
	} else {
		printf("%s: %s: %s\n", command->line, sweep_outcome_name(result->outcome), result->message);
	}
	fflush(stdout);
}

static void note_lost_nodes(struct command *command, const struct sweep_result *result, const struct error *error)
{
	uint32_t nodes = result->cell.nodes;
	if (error->code == ERROR_UNREACHABLE && (command->lost_nodes == 0 || nodes < command->lost_nodes))
		command->lost_nodes = nodes;
	if (error->code == ERROR_NONE && nodes >= command->lost_nodes)
		command->lost_nodes = 0;
}

// False when the sweep is over: interrupted (nothing is recorded), or its files cannot be written any more.
static bool run_cell(struct command *command, struct sweep_result *result, struct error *error)
{
	struct sweep_cell_options options = cell_options(command);
	struct sweep_result fresh = {.cell = result->cell};
	struct error cell_error;
	if (command->is_terminal)
		progress_show(command->line);
	else
		fprintf(stderr, "%s\n", command->line);
	fflush(stderr);
	sweep_cell_run(&options, &fresh, &cell_error);
	if (command_is_interrupted() && fresh.outcome == SWEEP_FAILED) { // what came to an end before is a result
		if (command->is_terminal)
			progress_clear();
		return error_set(error, ERROR_CANCELLED,
				 "interrupted in %s, which is not recorded; the same command continues from here",
				 command->line);
	}
	*result = fresh;
	note_lost_nodes(command, result, &cell_error);
	print_result(command, result);
	return sweep_output_write(command->output, command->sweep, error);
}

static bool run_cells(struct command *command, struct error *error)
{
	struct sweep *sweep = command->sweep;
	uint32_t number = 0, all = sweep->count - count_outcome(sweep, SWEEP_EMPTY);
	char label[SWEEP_LABEL_SIZE];
	for (uint32_t i = 0; i < sweep->count; i++) {
		struct sweep_result *result = &sweep->results[i];
		number += result->outcome != SWEEP_EMPTY;
		if (result->outcome != SWEEP_MISSING)
			continue;
		snprintf(command->line, sizeof(command->line), "cell %u of %u: %s", number, all,
			 sweep_label(&result->cell, label));
		if (command_is_interrupted())
			return error_set(error, ERROR_CANCELLED,
					 "interrupted before %s; the same command continues from here", command->line);
		if (!run_cell(command, result, error))
			return false;
	}
	return true;
}

// ---- After the last cell

// False when it was interrupted.
static bool draw(const struct command *command, struct error *error)
{
	output_wait_for_readers();
	const char *folder = command->arguments.job.output;
	bool removed;
	enum sweep_output_pictures pictures =
		sweep_output_draw(command->output, command_is_interrupted, &removed, error);
	if (removed)
		log_warning("removed the pictures of an earlier run in %s: they are older than the tables", folder);
	switch (pictures) {
	case SWEEP_DRAWN:
		printf("wrote to %s: sweep.md, sweep.csv, sweep.json, and the pictures sweep.png and sweep.svg\n",
		       folder);
		break;
	case SWEEP_NO_GNUPLOT:
		printf("wrote to %s: sweep.md, sweep.csv and sweep.json\n", folder);
		log_warning("no pictures: gnuplot is not in PATH; install gnuplot-nox, then run gnuplot sweep.gp in %s",
			    folder);
		break;
	case SWEEP_NOT_DRAWN:
		if (error->code == ERROR_CANCELLED)
			return error_set(error, ERROR_CANCELLED,
					 "interrupted while drawing pictures; all cells are done, and gnuplot sweep.gp "
					 "in %s draws them",
					 folder);
		log_warning("no pictures: %s", error->message);
		break;
	}
	return true;
}

static void close_all(struct command *command)
{
	if (command->rpc_is_started)
		rpc_stop();
	job_nodes_fini(&command->nodes);
	dataset_close(command->dataset);
	numerics_close(command->numerics);
	sweep_destroy(command->sweep);
	sweep_output_close(command->output);
}

static int exit_code(const struct command *command)
{
	if (command->lost_nodes > 0)
		return 4;
	return sweep_is_complete(command->sweep) ? 0 : 1;
}

int command_sweep(int argc, char **argv)
{
	struct command command = {.is_terminal = terminal_obeys(STDERR_FILENO)};
	struct error error;
	int code;
	if (!command_goes_on(sweep_arguments_parse(argc, argv, &command.arguments, &error), &error, &code))
		return code;
	command_catch_signals();
	output_guard();
	bool ok = read_nodes(&command, &error) && make_sweep(&command, &error) && open_output(&command, &error) &&
		  start(&command, &error) && run_cells(&command, &error) && draw(&command, &error);
	code = ok ? exit_code(&command) : 0;
	close_all(&command);
	return ok ? code : command_fail(&error);
}
