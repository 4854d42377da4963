"""The scripts that tie `coldstart _complete` to a shell.

Each hands over the words up to the cursor and offers what comes back. Nothing of a half-typed line is
ever evaluated: words are split at blanks, not parsed.
"""

from __future__ import annotations

INSTALL = """\
bash: echo 'source <(coldstart completion bash)' >> ~/.bashrc
zsh:  echo 'source <(coldstart completion zsh)' >> ~/.zshrc   (after compinit)
fish: coldstart completion fish > ~/.config/fish/completions/coldstart.fish
"""

# COMP_WORDS is split at every letter of COMP_WORDBREAKS, `=` among them, and readline replaces only
# what follows the last of these: so words come from COMP_LINE, and offers lose their part before it.
_BASH = r"""# coldstart completion for bash: source <(coldstart completion bash)
_coldstart() {
  local line=${COMP_LINE:0:COMP_POINT} program=${1/#\~\//$HOME/} current= kept= mark offer
  local -a words=() offers=()
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current=${words[${#words[@]}-1]}
  for mark in = :; do
    if [[ $COMP_WORDBREAKS == *"$mark"* && $current == *"$mark"* ]]; then
      local upto=${current%"$mark"*}$mark
      (( ${#upto} > ${#kept} )) && kept=$upto
    fi
  done
  mapfile -t offers < <("$program" _complete "${words[@]:1}" 2>/dev/null)
  COMPREPLY=()
  for offer in "${offers[@]}"; do
    COMPREPLY+=("${offer#"$kept"}")
  done
  [[ ${#offers[@]} -gt 0 && ${offers[0]} == *[=./] ]] && compopt -o nospace
  return 0
}
complete -F _coldstart coldstart
"""

_ZSH = r"""#compdef coldstart
# coldstart completion for zsh: source <(coldstart completion zsh)
_coldstart() {
  local program=${words[1]/#\~\//$HOME/}
  local -a offers open closed
  offers=("${(@f)$("$program" _complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
  offers=(${offers:#})
  open=(${(M)offers:#*[=./]})
  closed=(${offers:#*[=./]})
  (( $#open )) && compadd -S '' -- $open
  (( $#closed )) && compadd -- $closed
  (( $#offers ))
}
if [[ ${funcstack[1]} == _coldstart ]]; then
  _coldstart "$@"
else
  compdef _coldstart coldstart
fi
"""

_FISH = r"""# fish completion: coldstart completion fish > ~/.config/fish/completions/coldstart.fish
function __coldstart_complete
    set -l words (commandline -opc)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    $program _complete $words[2..-1] (commandline -ct) 2>/dev/null
end
complete -c coldstart -f -a '(__coldstart_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
