// PNG, by libpng. It reports errors by longjmp: so what must be released stands in one struct, which does not move.
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "coordinator/dataset/image_formats.h"

enum { MAXIMUM_CHUNK_BYTES = 8 << 20, MESSAGE_SIZE = 200 }; // of a chunk that is not pixels, unpacked

struct reader {
	png_structp png;
	png_infop info;
	const uint8_t *bytes;
	size_t left;
	jmp_buf failed;
	char message[MESSAGE_SIZE];
	uint8_t *pixels;
	png_bytep *rows;
};

static void on_error(png_structp png, png_const_charp text)
{
	struct reader *reader = png_get_error_ptr(png);
	snprintf(reader->message, sizeof(reader->message), "%s", text);
	longjmp(reader->failed, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
}

static void on_read(png_structp png, png_bytep into, size_t bytes)
{
	struct reader *reader = png_get_io_ptr(png);
	if (bytes > reader->left)
		png_error(png, "it is cut short");
	memcpy(into, reader->bytes, bytes);
	reader->bytes += bytes;
	reader->left -= bytes;
}

static void ask_for_rgb(struct reader *reader)
{
	int kind = png_get_color_type(reader->png, reader->info);
	png_set_strip_16(reader->png);
	if (kind == PNG_COLOR_TYPE_PALETTE)
		png_set_palette_to_rgb(reader->png);
	if ((kind & PNG_COLOR_MASK_COLOR) == 0) {
		png_set_expand_gray_1_2_4_to_8(reader->png);
		png_set_gray_to_rgb(reader->png);
	}
	png_set_strip_alpha(reader->png);
	png_set_interlace_handling(reader->png);
	png_read_update_info(reader->png, reader->info);
}

static bool read_pixels(struct reader *reader, uint32_t width, uint32_t height, struct error *error)
{
	ask_for_rgb(reader);
	if (png_get_rowbytes(reader->png, reader->info) != (size_t)width * 3)
		return error_set(error, ERROR_USAGE, "does not decode: its pixels are of an unknown kind");
	reader->pixels = malloc((size_t)width * height * 3);
	reader->rows = malloc(height * sizeof(*reader->rows));
	if (reader->pixels == NULL || reader->rows == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	for (uint32_t y = 0; y < height; y++)
		reader->rows[y] = reader->pixels + (size_t)y * width * 3;
	png_read_image(reader->png, reader->rows);
	png_read_end(reader->png, NULL);
	return true;
}

static bool read_image(struct reader *reader, bool header_only, struct error *error)
{
	if (setjmp(reader->failed) != 0) {
		char shown[MESSAGE_SIZE];
		return error_set(error, ERROR_USAGE, "does not decode: %s",
				 strings_printable(reader->message, shown, sizeof(shown)));
	}
	png_set_user_limits(reader->png, IMAGE_MAXIMUM_SIDE * 2,
			    IMAGE_MAXIMUM_SIDE * 2); // so that our own check speaks
	png_set_chunk_malloc_max(reader->png, MAXIMUM_CHUNK_BYTES);
	png_set_read_fn(reader->png, reader, on_read);
	png_read_info(reader->png, reader->info);
	uint32_t width = png_get_image_width(reader->png, reader->info),
		 height = png_get_image_height(reader->png, reader->info);
	return image_check_dimensions(width, height, error) &&
	       (header_only || read_pixels(reader, width, height, error));
}

bool image_read_png(const uint8_t *bytes, size_t size, bool header_only, struct image *ret_image, struct error *error)
{
	struct reader *reader = calloc(1, sizeof(*reader));
	if (reader == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	reader->bytes = bytes;
	reader->left = size;
	reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning);
	reader->info = reader->png != NULL ? png_create_info_struct(reader->png) : NULL;
	bool ok = reader->info != NULL || error_set(error, ERROR_FAILED, "out of memory");
	ok = ok && read_image(reader, header_only, error);
	if (ok)
		*ret_image = (struct image){reader->pixels, png_get_image_width(reader->png, reader->info),
					    png_get_image_height(reader->png, reader->info)};
	else
		free(reader->pixels);
	png_destroy_read_struct(&reader->png, &reader->info, NULL);
	free(reader->rows);
	free(reader);
	return ok;
}
