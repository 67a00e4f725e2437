// JPEG, by libjpeg-turbo. It reports errors by longjmp: so what must be released stands in one struct, which does not move.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>
#include <jerror.h>

#include "common/base/strings.h"
#include "coordinator/dataset/image_formats.h"

enum { MAXIMUM_SCANS = 200 };             // a progressive image of a few bytes may ask for thousands of passes
#define MAXIMUM_MEMORY_BYTES (512L << 20) // of a progressive image's coefficients

struct reader {
	struct jpeg_decompress_struct jpeg;
	struct jpeg_error_mgr errors;
	struct jpeg_progress_mgr progress;
	jmp_buf failed;
	char message[JMSG_LENGTH_MAX];
	uint8_t *pixels;
	uint8_t *line; // of a CMYK image
};

static void on_error(j_common_ptr common)
{
	struct reader *reader = common->client_data;
	common->err->format_message(common, reader->message);
	longjmp(reader->failed, 1);
}

// A file that is cut short is an error here; libjpeg would fill the rest with grey. What else it warns of, it can repair.
static void on_message(j_common_ptr common, int level)
{
	if (level < 0 && common->err->msg_code == JWRN_JPEG_EOF)
		on_error(common);
}

static void on_progress(j_common_ptr common)
{
	struct reader *reader = common->client_data;
	if (reader->jpeg.input_scan_number <= MAXIMUM_SCANS)
		return;
	snprintf(reader->message, sizeof(reader->message), "it has more than %d scans", MAXIMUM_SCANS);
	longjmp(reader->failed, 1);
}

// Adobe's inks, which are stored inverted: 255 is none.
static void convert_cmyk(const uint8_t *line, uint32_t width, uint8_t *into)
{
	for (uint32_t x = 0; x < width; x++)
		for (int c = 0; c < 3; c++) {
			int light = line[4 * x + 3], ink = 255 - line[4 * x + c];
			int product = ink * light + 128;
			into[3 * x + c] = (uint8_t)(light - ((product + (product >> 8)) >> 8));
		}
}

static bool read_pixels(struct reader *reader, struct error *error)
{
	struct jpeg_decompress_struct *jpeg = &reader->jpeg;
	bool is_cmyk = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
	jpeg->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
	jpeg_start_decompress(jpeg);
	reader->pixels = malloc((size_t)jpeg->output_width * jpeg->output_height * 3);
	reader->line = is_cmyk ? malloc((size_t)jpeg->output_width * 4) : NULL;
	if (reader->pixels == NULL || (is_cmyk && reader->line == NULL))
		return error_set(error, ERROR_FAILED, "out of memory");
	while (jpeg->output_scanline < jpeg->output_height) {
		uint8_t *into = reader->pixels + (size_t)jpeg->output_scanline * jpeg->output_width * 3;
		JSAMPROW row = is_cmyk ? reader->line : into;
		jpeg_read_scanlines(jpeg, &row, 1);
		if (is_cmyk)
			convert_cmyk(reader->line, jpeg->output_width, into);
	}
	return true;
}

static bool read_image(struct reader *reader, const uint8_t *bytes, size_t size, bool header_only, struct error *error)
{
	struct jpeg_decompress_struct *jpeg = &reader->jpeg;
	if (setjmp(reader->failed) != 0) {
		char shown[JMSG_LENGTH_MAX];
		return error_set(error, ERROR_USAGE, "does not decode: %s",
				 strings_printable(reader->message, shown, sizeof(shown)));
	}
	jpeg_create_decompress(jpeg);
	jpeg->mem->max_memory_to_use = MAXIMUM_MEMORY_BYTES;
	jpeg->progress = &reader->progress;
	jpeg_mem_src(jpeg, bytes, size);
	jpeg_read_header(jpeg, TRUE);
	return image_check_dimensions(jpeg->image_width, jpeg->image_height, error) &&
	       (header_only || read_pixels(reader, error));
}

bool image_read_jpeg(const uint8_t *bytes, size_t size, bool header_only, struct image *ret_image, struct error *error)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	if (reader == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	reader->jpeg.err = jpeg_std_error(&reader->errors);
	reader->jpeg.client_data = reader;
	reader->errors.error_exit = on_error;
	reader->errors.emit_message = on_message;
	reader->progress.progress_monitor = on_progress;
	bool ok = read_image(reader, bytes, size, header_only, error);
	if (ok)
		*ret_image = (struct image){reader->pixels, reader->jpeg.image_width, reader->jpeg.image_height};
	else
		free(reader->pixels);
	jpeg_destroy_decompress(&reader->jpeg);
	free(reader->line);
	free(reader);
	return ok;
}
