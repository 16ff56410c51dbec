// The table of a charger's parameters: searching in it, counting what was changed; and the advice of its set-up.
import Alpine from '@alpinejs/csp'

Alpine.data('sifting', () => ({
  sift() {
    const wanted = this.$root.querySelector('#sift').value.trim().toLowerCase()
    let shown = 0
    for (const row of this.$root.querySelectorAll('[data-sift]')) {
      row.hidden = !row.dataset.sift.includes(wanted)
      if (!row.hidden) shown += 1
    }
    const none = this.$root.querySelector('[data-sifted-out]')
    if (none) none.hidden = shown > 0
  },
  count() {
    let changed = 0
    for (const field of this.$root.querySelectorAll('[name^="value."]')) {
      const was = field.form.elements.namedItem(field.name.replace('value.', 'was.')).value
      const isChanged = field.value !== was
      field.classList.toggle('is-changed', isChanged)
      if (isChanged) changed += 1
    }
    const added = this.$root.querySelector('[name=new_key]')
    if (added && added.value.trim()) changed += 1
    const told = this.$root.querySelector('[data-counted]')
    if (told) {
      const { none, one, more } = told.dataset
      told.textContent = changed === 0 ? none : changed === 1 ? one : more.replace('{n}', changed)
    }
  },
}))

Alpine.data('advising', () => ({
  init() { this.advise() },
  advise() {
    const amps = (name) => Number.parseFloat(this.$root.querySelector(`[name=${name}]`).value.replace(',', '.'))
    const said = this.$root.querySelector('[data-advice]')
    const most = Math.floor(amps('breaker_a') * 0.8 + 1e-6)
    const wanted = amps('max_current_a')
    if (!(most >= 6) || !(wanted > 0)) {
      said.textContent = ''
      return
    }
    said.classList.toggle('is-much', wanted > most)
    said.textContent = (wanted > most ? said.dataset.much : said.dataset.good).replace('{most}', most)
  },
}))
