/* The document itself. A "#" can only stand in one of its strings, where \u005b is a bracket. */
#include "report/report.h"

#include <stdlib.h>

#include "report/form.h"
#include "support/json.h"

void report_json(FILE *out, const cJSON *document)
{
    char *text = json_print(document, true);

    form_write(out, text, "::", "\\u005b");
    fputc('\n', out);
    free(text);
}
