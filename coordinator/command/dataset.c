// penstock dataset synthesize
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/command/command.h"
#include "coordinator/dataset/synthesize.h"

enum { DEFAULT_IMAGES = 2000, MAXIMUM_IMAGES = 1000000 };
enum { OPTION_IMAGES = COMMAND_OPTION_HELP + 1, OPTION_SEED };

static const char usage[] =
	"Usage: penstock dataset synthesize DIR [--images N] [--seed N]\n"
	"Draws a small learnable set of 10 classes in CIFAR-10's binary file format: data_batch_1.bin to\n"
	"data_batch_5.bin and test_batch.bin.\n"
	"\n"
	"  --images N                images in each file (default 2000; CIFAR-10 has 10000)\n"
	"  --seed N                  another set (default 1)\n";

static bool parse(int argc, char **argv, uint32_t *images, uint64_t *seed, bool *help, struct error *error)
{
	static const struct option known[] = {{"images", required_argument, NULL, OPTION_IMAGES},
					      {"seed", required_argument, NULL, OPTION_SEED},
					      {"help", no_argument, NULL, COMMAND_OPTION_HELP},
					      {0}};
	int64_t value;
	int code;
	opterr = 0;
	optind = 1;
	while ((code = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		if (code == 'h' || code == COMMAND_OPTION_HELP) {
			*help = true;
			return true;
		}
		if (code == '?' || code == ':')
			return command_refuse_option(code, argv, error);
		bool is_images = code == OPTION_IMAGES;
		if (!strings_parse_integer(optarg, is_images ? 10 : 0, is_images ? MAXIMUM_IMAGES : INT64_MAX, &value,
					   error))
			return error_wrap(error, is_images ? "--images" : "--seed");
		if (is_images)
			*images = (uint32_t)value;
		else
			*seed = (uint64_t)value;
	}
	return true;
}

int command_dataset(int argc, char **argv)
{
	uint32_t images = DEFAULT_IMAGES;
	uint64_t seed = 1;
	bool help = false;
	struct error error;
	if (!parse(argc, argv, &images, &seed, &help, &error))
		return command_fail(&error);
	if (help) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc - optind != 2 || argv[optind + 1][0] == '\0' || strcmp(argv[optind], "synthesize") != 0) {
		error_set(&error, ERROR_USAGE, "expected: penstock dataset synthesize DIR");
		return command_fail(&error);
	}
	const char *folder = argv[optind + 1];
	if (!synthesize_cifar10(folder, images, seed, &error))
		return command_fail(&error);
	printf("%s: 5 files of %u images to train on, 1 to test\n", folder, images);
	return 0;
}
