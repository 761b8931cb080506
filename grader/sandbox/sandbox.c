#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox/layers.h"
#include "support/json.h"

/*
 * The order matters. Namespaces are entered by the slot's suite as a whole (namespaces.h), and only
 * reported here. Descriptors go first, nothing else needs them. Limits are set while we may
 * still raise one; the process limit after the uid has changed, since the kernel would note at
 * that change that the uid is over its limit and refuse the exec. The session's death signal is
 * forgotten when credentials change. The two filters come last, since they bind ourselves too.
 */
const struct layer *const sandbox_layers[] = {
    &layer_namespaces,
    &layer_subreaper,
    &layer_descriptors,
    &layer_limits,
    &layer_ids,
    &layer_processes,
    &layer_session,
    &layer_no_new_privs,
    &layer_landlock,
    &layer_seccomp,
    NULL,
};

/* Whether `name` stands in the list `off`: "landlock,own uid". */
static bool is_off(const char *off, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = off; at != NULL && *at != '\0';) {
        size_t word = strcspn(at, ",");
        if (word == len && memcmp(at, name, len) == 0)
            return true;
        at += word + (at[word] == ',');
    }
    return false;
}

static bool probe(const struct layer *layer, const char *off, struct strbuf *detail)
{
    if (is_off(off, layer->name)) {
        strbuf_addstr(detail, "left out by IPCLAB_LAYERS_OFF");
        return false;
    }
    return layer->probe(detail);
}

int sandbox_high_fd(int fd, const struct policy *policy)
{
    int above = 200, high;
    struct rlimit limit;

    if (policy->descriptors + 16 > above)
        above = (int)policy->descriptors + 16;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)above + 16) {
        limit.rlim_cur = limit.rlim_max < (rlim_t)above + 16 ? limit.rlim_max : (rlim_t)above + 16;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    high = fcntl(fd, F_DUPFD_CLOEXEC, above);
    /* A machine that gives us so few: then as it is, and close-on-exec all the same. */
    if (high == -1)
        return fd;
    close(fd);
    return high;
}

int sandbox_prepare(struct sandbox *s, const struct policy *policy, const char *off,
                    struct error *err)
{
    *s = (struct sandbox){
        .policy = policy, .ruleset = -1, .notify_socket = -1, .parent = getpid(), .keep_fd = -1};
    for (size_t i = 0; sandbox_layers[i] != NULL; i++) {
        const struct layer *layer = sandbox_layers[i];
        struct strbuf detail = STRBUF_INIT;
        if (layer->prepare == NULL && layer->enter == NULL)
            continue;
        bool active = probe(layer, off, &detail);
        strbuf_release(&detail);
        if (!active)
            continue;
        if (layer->prepare != NULL && layer->prepare(s, err) != 0) {
            error_prefix(err, "the sandbox layer '%s'", layer->name);
            sandbox_release(s);
            return -1;
        }
        s->active |= 1u << i;
    }
    return 0;
}

int sandbox_allow(struct sandbox *s, const char *path, unsigned rights, struct error *err)
{
    for (size_t i = 0; sandbox_layers[i] != NULL; i++) {
        if ((s->active & 1u << i) && sandbox_layers[i]->allow != NULL &&
            sandbox_layers[i]->allow(s, path, rights, err) != 0) {
            error_prefix(err, "the sandbox layer '%s'", sandbox_layers[i]->name);
            return -1;
        }
    }
    return 0;
}

int sandbox_enter(const struct sandbox *s, int keep_fd, const char **step)
{
    struct sandbox now = *s;

    now.keep_fd = keep_fd;
    for (size_t i = 0; sandbox_layers[i] != NULL; i++) {
        if (!(s->active & 1u << i) || sandbox_layers[i]->enter == NULL)
            continue;
        *step = sandbox_layers[i]->name;
        if (sandbox_layers[i]->enter(&now) != 0)
            return -1;
    }
    /* As the program's own uid: its folder is open to nobody else. */
    *step = "directory";
    if (s->policy->directory != NULL && chdir(s->policy->directory) != 0)
        return -1;
    return 0;
}

void sandbox_release(struct sandbox *s)
{
    for (size_t i = 0; sandbox_layers[i] != NULL; i++) {
        if (sandbox_layers[i]->release != NULL)
            sandbox_layers[i]->release(s);
    }
    s->active = 0;
}

cJSON *sandbox_report(const char *off)
{
    cJSON *report = cJSON_CreateArray();

    for (size_t i = 0; sandbox_layers[i] != NULL; i++) {
        const struct layer *layer = sandbox_layers[i];
        struct strbuf detail = STRBUF_INIT;
        bool active = probe(layer, off, &detail);
        cJSON *item = cJSON_CreateObject();
        json_add_string(item, "layer", layer->name);
        json_add_bool(item, "active", active);
        json_add_string(item, "detail", detail.text);
        json_append(report, item);
        strbuf_release(&detail);
    }
    return report;
}

bool sandbox_has_layer(const char *name, const char *off)
{
    struct strbuf detail = STRBUF_INIT;
    bool active = false;

    for (size_t i = 0; sandbox_layers[i] != NULL; i++) {
        if (strcmp(sandbox_layers[i]->name, name) == 0)
            active = probe(sandbox_layers[i], off, &detail);
    }
    strbuf_release(&detail);
    return active;
}

bool sandbox_is_official(const char *off, struct strbuf *why_not)
{
    struct strbuf detail = STRBUF_INIT;
    bool official = true;

    if (off != NULL && *off != '\0') {
        strbuf_addf(why_not, "sandbox layers were left out: %s", off);
        official = false;
    } else if (!layer_ids.probe(&detail)) {
        strbuf_addf(why_not,
                    "nothing separates the submission from the grader's own user: the layer "
                    "'%s' is not in force (%s)",
                    layer_ids.name, detail.text);
        official = false;
    }
    strbuf_release(&detail);
    return official;
}
