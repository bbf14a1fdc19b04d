#!/bin/sh
# make run: a daemon of its own, two answers of the demo model, streamed; then a model larger than its memory budget.
# Usage: newcomer.sh BIN_DIRECTORY WORK_DIRECTORY
set -eu

bin=$1
mkdir -p "$2"
work=$(cd "$2" && pwd)
model=$work/newcomer.gguf
memory=1200MB

export HYPURA_HOME="$work/home"
export HYPURA_HTTP=127.0.0.1:0
trap '"$bin/hypuractl" stop >/dev/null 2>&1 || true' EXIT INT TERM

echo "The demo model that comes with hypura, a quarter of its experts in memory, the rest read as they are needed:"
for question in "Why is the sky blue?" "What can you do?"; do
    echo
    echo "> $question"
    "$bin/hypuractl" run demo "$question" --weight-cache 25% --temperature 0 </dev/null
done

echo
if [ ! -f "$model" ]; then
    echo "Writing a synthetic mixture of experts (Qwen3-30B-A3B's shape, 3 of its 48 layers, random weights)."
    "$bin/python" -m tests.models --shape qwen3-30b-a3b --layers 3 --out "$model"
fi
size=$(wc -c <"$model")
echo "This model has $((size / 1000000)) MB; it gets $memory of memory. Its words are random, its work is real."
echo
"$bin/hypuractl" run "$model" "Hello" --memory "$memory" --max-tokens 48 --ignore-eos --seed 1 </dev/null

echo
echo "Now yours: . .venv/bin/activate, then hypuractl run demo (a conversation) or hypuractl run YOUR.gguf"
