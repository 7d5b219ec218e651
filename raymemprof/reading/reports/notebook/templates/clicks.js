// Carries what the scripts of tables ask to the kernel, and its answers to them.
export default {
  initialize({ model }) {
    const asked = new Map();
    const ask = (event) => {
      const { table, target, show } = event.detail;
      try {
        model.send({ table, target });
      } catch {
        return;  // the kernel is gone
      }
      event.preventDefault();  // somebody listens
      asked.set(`${table}\n${target}`, show);
    };
    model.on("msg:custom", ({ table, target, ...found }) => {
      const key = `${table}\n${target}`;
      asked.get(key)?.(found);
      asked.delete(key);
    });
    document.addEventListener("raymemprof-opens", ask);
    return () => document.removeEventListener("raymemprof-opens", ask);
  },
};
