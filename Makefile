# ipclab: what a person types. `make help` tells what each target does.
#
# Everything is built below $(BUILD); nothing but `make install` and the package manager writes
# elsewhere.
SHELL = /bin/bash
BUILD ?= build
ifeq ($(origin CC),default)
CC = gcc
endif
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
LAB ?= pipe
SUBMISSION ?= starter/$(LAB)
WARNINGS = -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Werror
IPCLAB_CFLAGS = -std=c17 -D_GNU_SOURCE -Igrader $(WARNINGS) $(CFLAGS)
ENGINE_LIBS = -lcjson -larchive -lseccomp -lexpat -lnettle -lpthread -lm
# A suite is executed once for each test: what it does not have to load at run time, it does not pay.
SUITE_LIBS = -lcjson -Wl,-Bstatic -lseccomp -lexpat -lnettle -Wl,-Bdynamic -lpthread -lm

LABS = $(notdir $(patsubst %/,%,$(dir $(wildcard assignments/*/lab.json))))

ENGINE_SOURCES = $(filter-out grader/main.c,$(wildcard grader/*.c)) \
    $(wildcard grader/support/*.c grader/course/*.c grader/intake/*.c grader/build/*.c \
      grader/sandbox/*.c grader/run/*.c grader/score/*.c grader/report/*.c grader/commands/*.c)
MAINS = grader/harness/suite_main.c grader/harness/floor_main.c grader/harness/libgit2_stub.c
HARNESS_SOURCES = $(filter-out $(MAINS),$(wildcard grader/harness/*.c))
ENGINE_OBJECTS = $(ENGINE_SOURCES:%.c=$(BUILD)/%.o)
HARNESS_OBJECTS = $(HARNESS_SOURCES:%.c=$(BUILD)/%.o)
UNIT_TESTS = $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/*.c))
UNIT_PROGRAMS = $(patsubst tests/unit/programs/%.c,$(BUILD)/unit/programs/%,\
    $(wildcard tests/unit/programs/*.c))

.PHONY: all help deps deps-test grade test unit verify bench lint format starter install image \
    doctor clean
.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/ipclab suites ## build the engine and the suites (the default)

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

# ---- the two commands of the README ----

deps: ## install what is missing of packages.txt (apt, with sudo when not root)
	@scripts/install-packages packages.txt

deps-test: ## the same with packages-test.txt
	@scripts/install-packages packages.txt packages-test.txt

grade: deps ## grade SUBMISSION (a path) of LAB; by default the pipe lab's starter
	@$(MAKE) --no-print-directory -s all
	$(BUILD)/ipclab grade $(LAB) "$(SUBMISSION)"

test: deps-test ## run every test of the framework
	@$(MAKE) --no-print-directory -s all unit
	@tests/run $(BUILD)

verify: deps-test ## prove the suites: reference 100, starter 0, each mutant caught (FULL=1: all of it; PART=2: half)
	@$(MAKE) --no-print-directory -s all
	@tests/verify --build $(BUILD) $(if $(FULL),--full) $(if $(PART),--part $(PART)) $(LABS)

bench: deps-test ## measure what grading costs beside its floor and beside other tools
	@$(MAKE) --no-print-directory -s all floors $(BUILD)/bench/start
	@tests/bench/bench --build $(BUILD) $(LABS)

lint: deps-test ## formats, static analysis, both compilers, shell scripts, labs that agree
	@tests/lint $(BUILD)

doctor: all ## tell what this machine offers
	@$(BUILD)/ipclab doctor

image: ## build the Docker images ipclab (grader) and ipclab-student
	@docker/build-images

# ---- the engine ----

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(IPCLAB_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libipclab.a: $(ENGINE_OBJECTS)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/libharness.a: $(HARNESS_OBJECTS)
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/ipclab: $(BUILD)/grader/main.o $(BUILD)/libipclab.a
	$(CC) $(CFLAGS) -o $@ $^ $(ENGINE_LIBS)

# ---- the suites: LAB-public and LAB-hidden, and the programs that they bring along ----

SUITES = $(foreach l,$(LABS),$(BUILD)/suites/$(l)-public \
    $(if $(wildcard grader/suites/$(l)/hidden/*.c),$(BUILD)/suites/$(l)-hidden))
TOOLS = $(foreach l,$(LABS),$(patsubst grader/suites/$(l)/tools/%.c,$(BUILD)/suites/tools/$(l)/%,\
    $(wildcard grader/suites/$(l)/tools/*.c)))
suites: $(SUITES) $(TOOLS)
.PHONY: suites floors

# libcriterion wants this soname; libgit2_stub.c says why we bring our own.
STUB = $(BUILD)/suites/libgit2.so
$(STUB): grader/harness/libgit2_stub.c
	@mkdir -p $(@D)
	@soname=$$(objdump -p "$$($(CC) -print-file-name=libcriterion.so)" | \
	  awk '$$1 == "NEEDED" && $$2 ~ /^libgit2/ { print $$2 }'); \
	$(CC) $(IPCLAB_CFLAGS) -fPIC -shared -Wl,-soname,$${soname:=libgit2.so} \
	  -o $(@D)/$$soname $< && ln -sf $$soname $@

suite_objects = $(patsubst %.c,$(1)/%.o,$(wildcard grader/suites/$(2)/$(3)/*.c \
    grader/suites/$(2)/peer/*.c grader/suites/$(2)/shared/*.c))

define suite_rules
$$(BUILD)/suites/$(1)-$(2): $$(call suite_objects,$$(BUILD),$(1),$(2)) \
    $$(BUILD)/grader/harness/suite_main.o $$(BUILD)/libharness.a $$(BUILD)/libipclab.a | $$(STUB)
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) -o $$@ $$^ -Wl,--no-as-needed $$(STUB) -Wl,--as-needed \
	  -Wl,-rpath,'$$$$ORIGIN' -lcriterion $$(SUITE_LIBS)
	@chmod $(3) $$@
endef
$(foreach l,$(LABS),$(eval $(call suite_rules,$(l),public,755)))
$(foreach l,$(LABS),$(eval $(call suite_rules,$(l),hidden,700)))

# Stubs that rpcgen writes from the rpc lab's interface: with libtirpc they are its independent peer.
RPCGEN = $(BUILD)/rpcgen
TOOL_FLAGS_rpc = -isystem $(RPCGEN) -isystem /usr/include/tirpc
TOOL_LIBS_rpc = -ltirpc
TOOL_NEEDS_rpc = $(RPCGEN)/stubs
$(RPCGEN)/stubs: starter/rpc/calc.x
	@rm -rf $(@D) && mkdir -p $(@D) && cp $< $(@D)
	cd $(@D) && for form in h:.h c:_xdr.c l:_clnt.c m:_svc.c; do \
	  rpcgen -N -M -$${form%:*} -o calc$${form#*:} calc.x || exit 1; done && touch stubs

# A tool is one file; what it shares with the suites, without the harness, lies in shared/. Of
# the engine's library it may use support/seal.h.
define tool_rules
$$(BUILD)/suites/tools/$(1)/%: grader/suites/$(1)/tools/%.c $(wildcard grader/suites/$(1)/shared/*.c) \
    $$(BUILD)/libipclab.a | $(TOOL_NEEDS_$(1))
	@mkdir -p $$(@D) $(BUILD)/deps
	$$(CC) $$(IPCLAB_CFLAGS) $(TOOL_FLAGS_$(1)) -MMD -MP -MF $(BUILD)/deps/$(1)-$$*.d -o $$@ \
	  $$(filter %.c,$$^) $$(BUILD)/libipclab.a -lpthread -Wl,-Bstatic -lnettle -Wl,-Bdynamic \
	  $(TOOL_LIBS_$(1))
endef
$(foreach l,$(LABS),$(eval $(call tool_rules,$(l))))

# The bench's floor: the same scenarios without Criterion, engine and sandbox.
FLOOR = $(BUILD)/floor
FLOORS = $(LABS:%=$(FLOOR)/%)
FLOOR_HARNESS = $(HARNESS_SOURCES:%.c=$(FLOOR)/%.o) $(FLOOR)/grader/harness/floor_main.o
floors: $(FLOORS)
$(FLOOR)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(IPCLAB_CFLAGS) -DIPCLAB_FLOOR -MMD -MP -c -o $@ $<
define floor_rules
$$(FLOOR)/$(1): $$(sort $$(call suite_objects,$$(FLOOR),$(1),public) \
    $$(call suite_objects,$$(FLOOR),$(1),hidden)) $$(FLOOR_HARNESS) $$(BUILD)/libipclab.a
	$$(CC) $$(CFLAGS) -o $$@ $$^ $$(ENGINE_LIBS)
endef
$(foreach l,$(LABS),$(eval $(call floor_rules,$(l))))

$(BUILD)/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/libipclab.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^ $(ENGINE_LIBS)

# ---- starters, cut from the references ----

# unifdef exits with 1 when it has changed something, which is what we want of it.
# The folder measure/ is the same in several starters, and has one source, the starter of shm.
MEASURES = $(filter-out starter/shm/%,$(wildcard starter/*/measure))
starter: ## cut the starters from the references
	@for lab in $(LABS); do for file in reference/$$lab/*.[ch]; do \
	  unifdef -DSTARTER "$$file" > starter/$$lab/$$(basename $$file); [ $$? -le 1 ] || exit 1; \
	done; done
	@for folder in $(MEASURES); do rm -rf $$folder; cp -R starter/shm/measure $$folder; done

# ---- unit tests: one Criterion program for each tests/unit/NAME.c ----

unit: $(UNIT_TESTS) $(UNIT_PROGRAMS)

$(BUILD)/unit/programs/%: tests/unit/programs/%.c $(BUILD)/libipclab.a
	@mkdir -p $(@D)
	$(CC) $(IPCLAB_CFLAGS) -o $@ $^ -lpthread -Wl,-Bstatic -lnettle -Wl,-Bdynamic

$(BUILD)/unit/%: $(BUILD)/tests/unit/%.o $(BUILD)/libharness.a $(BUILD)/libipclab.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -o $@ $^ -lcriterion $(ENGINE_LIBS)

# ---- installation ----

SHARE = $(DESTDIR)$(PREFIX)/share/ipclab
install: all ## install below PREFIX (GRADER=1: with the hidden suites, for their owner alone)
	install -D -m 755 $(BUILD)/ipclab $(DESTDIR)$(PREFIX)/bin/ipclab
	install -D -m 644 grader/ipclab.1 $(DESTDIR)$(PREFIX)/share/man/man1/ipclab.1
	scripts/install-course $(BUILD) $(SHARE) $(if $(GRADER),--grader) $(LABS)

format: ## format all C files as lint wants them
	clang-format -i $$(git ls-files 'grader/*.[ch]' 'tests/unit/*.[ch]' 'tests/bench/*.c')

clean: ## remove what was built
	rm -rf $(BUILD) $(BUILD)-gcc $(BUILD)-clang

# What the compiler noted of each object, in whatever folder.
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
